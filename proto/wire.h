// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_PROTO_WIRE_H_
#define SPICEGATE_PROTO_WIRE_H_

// Integers on the SPICE wire: little-endian, packed, at any alignment.
//
// Everything in proto/ works on bytes that belong to the caller. Nothing here
// copies a body, allocates, or keeps a pointer longer than it says.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace spicegate::proto {

using Bytes = std::span<const uint8_t>;
using MutableBytes = std::span<uint8_t>;

// Load and store at `p`, which must have the whole integer behind it. Written
// with shifts so that they hold on any host; compilers make one move of it.
inline uint16_t LoadU16(const uint8_t* p) {
  return static_cast<uint16_t>(p[0] | p[1] << 8);
}

inline uint32_t LoadU32(const uint8_t* p) {
  return static_cast<uint32_t>(p[0]) | static_cast<uint32_t>(p[1]) << 8 |
         static_cast<uint32_t>(p[2]) << 16 | static_cast<uint32_t>(p[3]) << 24;
}

inline uint64_t LoadU64(const uint8_t* p) {
  return LoadU32(p) | static_cast<uint64_t>(LoadU32(p + 4)) << 32;
}

inline void StoreU16(uint8_t* p, uint16_t v) {
  p[0] = static_cast<uint8_t>(v);
  p[1] = static_cast<uint8_t>(v >> 8);
}

inline void StoreU32(uint8_t* p, uint32_t v) {
  StoreU16(p, static_cast<uint16_t>(v));
  StoreU16(p + 2, static_cast<uint16_t>(v >> 16));
}

inline void StoreU64(uint8_t* p, uint64_t v) {
  StoreU32(p, static_cast<uint32_t>(v));
  StoreU32(p + 4, static_cast<uint32_t>(v >> 32));
}

// The characters of a byte string, for names and texts. Same lifetime as `b`.
inline std::string_view AsText(Bytes b) {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}

inline Bytes AsBytes(std::string_view s) {
  return {reinterpret_cast<const uint8_t*>(s.data()), s.size()};
}

// Whether [offset, offset + len) lies inside a body of `body_len` bytes. The
// arguments come from the wire as u32; the sum is made in 64 bits because a
// 32-bit sum that wraps is the classic hole of this protocol.
constexpr bool RangeFits(uint64_t offset, uint64_t len, size_t body_len) {
  return offset <= body_len && len <= body_len - offset;
}

// Reads integers off the front of a body. Never reads outside: the first read
// that does not fit returns zero (or nothing), and from then on ok() is false
// and every read returns zero. So a parser reads all its fields and asks once.
class Reader {
 public:
  explicit Reader(Bytes in) : in_(in) {}

  uint8_t U8() { return Has(1) ? *Advance(1) : 0; }
  uint16_t U16() { return Has(2) ? LoadU16(Advance(2)) : 0; }
  uint32_t U32() { return Has(4) ? LoadU32(Advance(4)) : 0; }
  uint64_t U64() { return Has(8) ? LoadU64(Advance(8)) : 0; }

  // The next `len` bytes, a view into the input; empty when they are not there.
  Bytes Take(size_t len) {
    if (!Has(len)) {
      return {};
    }
    const uint8_t* start = Advance(len);
    return {start, len};
  }

  bool ok() const { return ok_; }
  size_t offset() const { return pos_; }
  size_t remaining() const { return in_.size() - pos_; }

 private:
  bool Has(size_t len) { return ok_ = ok_ && len <= remaining(); }

  const uint8_t* Advance(size_t len) {
    const uint8_t* at = in_.data() + pos_;
    pos_ += len;
    return at;
  }

  Bytes in_;
  size_t pos_ = 0;
  bool ok_ = true;
};

// The counterpart: appends to a caller's buffer. A write that does not fit
// changes nothing and makes ok() false for good; length() counts what was
// written before.
class Writer {
 public:
  explicit Writer(MutableBytes out) : out_(out) {}

  void U8(uint8_t v) {
    if (uint8_t* p = Reserve(1)) {
      *p = v;
    }
  }
  void U16(uint16_t v) {
    if (uint8_t* p = Reserve(2)) {
      StoreU16(p, v);
    }
  }
  void U32(uint32_t v) {
    if (uint8_t* p = Reserve(4)) {
      StoreU32(p, v);
    }
  }
  void U64(uint64_t v) {
    if (uint8_t* p = Reserve(8)) {
      StoreU64(p, v);
    }
  }
  void Put(Bytes b) {
    uint8_t* p = Reserve(b.size());
    if (p != nullptr && !b.empty()) {
      std::memcpy(p, b.data(), b.size());
    }
  }

  bool ok() const { return ok_; }
  // Bytes written so far; the length of the whole when ok().
  size_t length() const { return pos_; }

 private:
  uint8_t* Reserve(size_t len) {
    ok_ = ok_ && len <= out_.size() - pos_;
    if (!ok_) {
      return nullptr;
    }
    uint8_t* at = out_.data() + pos_;
    pos_ += len;
    return at;
  }

  MutableBytes out_;
  size_t pos_ = 0;
  bool ok_ = true;
};

}  // namespace spicegate::proto

#endif  // SPICEGATE_PROTO_WIRE_H_
