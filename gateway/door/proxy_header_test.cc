// SPDX-License-Identifier: Apache-2.0
//
// The PROXY header on the simulated network: however it is cut, what it says is
// the same, and nothing behind it is taken.
#include "gateway/door/proxy_header.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "gateway/base/crc32c.h"
#include "gateway/io/sim_driver.h"
#include "gateway/io/sim_network.h"

namespace spicegate {
namespace {

using std::string_literals::operator""s;

constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr uint8_t kLocal = 0x20;
constexpr uint8_t kProxy = 0x21;
constexpr uint8_t kTcp4 = 0x11;
constexpr uint8_t kTcp6 = 0x21;
constexpr uint8_t kUnix = 0x31;
constexpr char kBehind[] = "what the client says";

// From 203.0.113.9:40000 to 10.0.0.1:3128.
const std::string kAddresses4 =
    "\xCB\x00\x71\x09\x0A\x00\x00\x01\x9C\x40\x0C\x38"s;
// From [2001:db8::7]:40000 to [2001:db8::1]:3128.
const std::string kAddresses6 =
    "\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x07"
    "\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x01\x9C\x40\x0C\x38"s;

const ProxyHeader kFrom4 = {ProxyHeaderOutcome::kVersion2, "203.0.113.9:40000"};
const ProxyHeader kUnnamed = {};
const ProxyHeader kHealthCheck = {ProxyHeaderOutcome::kLocal, "", true};

std::string BigEndian16(size_t value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value)};
}

std::string Block(uint8_t command, uint8_t family, const std::string& body) {
  return std::string(kSignature) + static_cast<char>(command) +
         static_cast<char>(family) + BigEndian16(body.size()) + body;
}

std::string Tlv(uint8_t type, const std::string& value) {
  return static_cast<char>(type) + BigEndian16(value.size()) + value;
}

// A header from TCP over IPv4 with these extensions.
std::string Extended(const std::string& tlvs) {
  return Block(kProxy, kTcp4, kAddresses4 + tlvs);
}

std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// A header with these extensions and its checksum between them.
std::string Checked(const std::string& before, const std::string& after) {
  std::string header = Extended(before + Tlv(0x03, std::string(4, 0)) + after);
  const uint32_t crc = Crc32c(Bytes(header));
  const size_t at = header.size() - after.size() - 4;
  for (size_t i = 0; i < 4; ++i) {
    header[at + i] = static_cast<char>(crc >> (24 - 8 * i));
  }
  return header;
}

class ProxyHeaderTest : public testing::Test {
 protected:
  ~ProxyHeaderTest() override { leg_.Release(Socket::End::kFin); }

  void Connect() {
    auto connection = network_.Connection();
    leg_ = Leg::Plain(&driver_, connection.first);
    client_ = std::move(connection.second);
    header_.reset();
    done_ = false;
    Spawn(Serve());
  }

  Task<void> Serve() {
    header_ = co_await ReadProxyHeader(&leg_);
    done_ = true;
  }

  void Run() {
    for (int i = 0; i < 3; ++i) {
      driver_.Wait(0);
      driver_.Dispatch();
    }
  }

  void Send(std::string_view bytes) {
    if (!bytes.empty()) {
      EXPECT_EQ(client_.WriteString(std::string(bytes)), bytes.size());
    }
    Run();
  }

  // What the reader left.
  std::string Rest() {
    std::array<uint8_t, 256> rest;
    const ssize_t n = leg_.stream->Read(rest);
    return std::string(rest.begin(), rest.begin() + std::max<ssize_t>(n, 0));
  }

  void ExpectHeader(const ProxyHeader& header) {
    ASSERT_TRUE(done_);
    ASSERT_TRUE(header_.has_value());
    EXPECT_EQ(header_->outcome, header.outcome);
    EXPECT_EQ(header_->source, header.source);
    EXPECT_EQ(header_->local, header.local);
  }

  void ExpectSplitAt(std::string_view bytes, size_t at,
                     const ProxyHeader& header) {
    SCOPED_TRACE(at);
    Connect();
    Send(bytes.substr(0, at));
    EXPECT_FALSE(done_);
    Send(std::string(bytes.substr(at)) + kBehind);
    ExpectHeader(header);
    EXPECT_EQ(Rest(), kBehind);
  }

  // At once, split at every byte, and byte by byte.
  void ExpectRead(std::string_view bytes, const ProxyHeader& header) {
    SCOPED_TRACE(testing::PrintToString(bytes));
    for (size_t at = 0; at < bytes.size(); ++at) {
      ExpectSplitAt(bytes, at, header);
    }
    Connect();
    for (const char byte : bytes) {
      EXPECT_FALSE(done_);
      Send({&byte, 1});
    }
    ExpectHeader(header);
    Send(kBehind);
    EXPECT_EQ(Rest(), kBehind);
  }

  // Refused without waiting for more, however it comes.
  void ExpectRefused(std::string_view bytes) {
    SCOPED_TRACE(testing::PrintToString(bytes));
    for (size_t at = 0; at < bytes.size(); ++at) {
      SCOPED_TRACE(at);
      Connect();
      Send(bytes.substr(0, at));
      Send(bytes.substr(at));
      EXPECT_TRUE(done_);
      EXPECT_FALSE(header_.has_value());
    }
  }

  SimNetwork network_{SimOptions{}};
  SimDriver driver_{&network_};
  Leg leg_;
  SimPeer client_;
  std::optional<ProxyHeader> header_;
  bool done_ = false;
};

ProxyHeader FromLine(const std::string& source) {
  return {ProxyHeaderOutcome::kVersion1, source};
}

TEST_F(ProxyHeaderTest, LinesWithAddresses) {
  ExpectRead("PROXY TCP4 203.0.113.9 10.0.0.1 40000 3128\r\n",
             FromLine("203.0.113.9:40000"));
  ExpectRead("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
             FromLine("255.255.255.255:65535"));
  ExpectRead("PROXY TCP4 1.1.1.1 1.1.1.1 0 1\r\n", FromLine("1.1.1.1:0"));
  ExpectRead("PROXY TCP6 2001:db8::7 ::1 40000 3128\r\n",
             FromLine("[2001:db8::7]:40000"));
  ExpectRead("PROXY TCP6 :: :: 1 1\r\n", FromLine("[::]:1"));
}

// However an address is written, it is known by one text: lists and logs
// compare texts.
TEST_F(ProxyHeaderTest, AddressesBecomeCanonical) {
  ExpectRead("PROXY TCP6 2001:0DB8:0:0::0:7 ::1 9 1\r\n",
             FromLine("[2001:db8::7]:9"));
  ExpectRead("PROXY TCP6 0:0:0:0:0:ffff:CB00:7109 ::1 9 1\r\n",
             FromLine("203.0.113.9:9"));
  ExpectRead("PROXY TCP6 ::ffff:203.0.113.9 ::1 9 1\r\n",
             FromLine("203.0.113.9:9"));
}

TEST_F(ProxyHeaderTest, UnknownIsWhateverFollowsIt) {
  ExpectRead("PROXY UNKNOWN\r\n", kUnnamed);
  ExpectRead("PROXY UNKNOWN ffff::1 ::1 no port\r\n", kUnnamed);
  ExpectRead("PROXY UNKNOWN \r\n", kUnnamed);
}

TEST_F(ProxyHeaderTest, ALineEndsWithinItsBound) {
  // The longest that is well-formed with addresses.
  const std::string v6 = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
  const std::string longest =
      "PROXY TCP6 " + v6 + " " + v6 + " 65535 65535\r\n";
  EXPECT_EQ(longest.size(), 104u);
  ExpectRead(longest, FromLine("[" + v6 + "]:65535"));
  const std::string unknown = "PROXY UNKNOWN ";
  const std::string filled =
      unknown + std::string(kMaxProxyLineBytes - unknown.size() - 2, 'f');
  EXPECT_EQ(filled.size(), 105u);
  ExpectRead(filled + "\r\n", kUnnamed);
  ExpectRefused(filled + "f\r\n");
  ExpectRefused(filled + "f");  // no CR LF can come in time
  ExpectRefused(filled + "ff\r");
}

TEST_F(ProxyHeaderTest, CrOrLfAloneEndsNoLine) {
  const std::string line = "PROXY TCP4 203.0.113.9 10.0.0.1 40000 3128";
  ExpectRefused(line + "\n");
  ExpectRefused(line + "\rX");
  ExpectRefused(line + "\r\r\n");
  ExpectRefused("PROXY UNKNOWN\n\r\n");
  ExpectRefused("PROXY UNKNOWN a\rb\r\n");
  ExpectRefused("PROXY UNKNOWN a\nb\r\n");
  ExpectRefused("PROXY \r\n");
  ExpectRefused("PROXY\r\n");
}

TEST_F(ProxyHeaderTest, OtherLinesAreRefused) {
  for (const char* line : {
           "PROXY TCP4 203.0.113.9 10.0.0.1 40000\r\n",
           "PROXY TCP4 203.0.113.9 10.0.0.1 40000 3128 1\r\n",
           "PROXY TCP4 203.0.113.9 10.0.0.1 40000 3128 \r\n",
           "PROXY TCP4 203.0.113.9  10.0.0.1 40000 3128\r\n",
           "PROXY TCP4  203.0.113.9 10.0.0.1 40000 3128\r\n",
           "PROXY TCP4 203.0.113.9 10.0.0.1 40000 \r\n",
           "PROXY TCP4\r\n",
           "PROXY TCP4 \r\n",
           "PROXY TCP5 203.0.113.9 10.0.0.1 40000 3128\r\n",
           "PROXY UDP4 203.0.113.9 10.0.0.1 40000 3128\r\n",
           "PROXY  TCP4 203.0.113.9 10.0.0.1 40000 3128\r\n",
           "PROXY UNKNOWNS a b\r\n",
           "PROXY unknown 2 3 4\r\n",
           "proxy TCP4 203.0.113.9 10.0.0.1 40000 3128\r\n",
           "PROXY TCP4 2001:db8::7 ::1 40000 3128\r\n",
           "PROXY TCP6 203.0.113.9 10.0.0.1 40000 3128\r\n",
           "PROXY TCP6 fe80::1%eth0 ::1 40000 3128\r\n",
           "PROXY TCP6 [::1] ::1 40000 3128\r\n",
       }) {
    ExpectRefused(line);
  }
}

TEST_F(ProxyHeaderTest, AddressesAndPortsHaveOneForm) {
  for (const char* address :
       {"203.0.113.09", "0xCB.0.113.9", "203.0.28937", "3405803785",
        "203.0.113.256", "203.0.113.9.1", "203.0.113.", "a.example"}) {
    ExpectRefused("PROXY TCP4 " + std::string(address) + " 10.0.0.1 1 1\r\n");
    ExpectRefused("PROXY TCP4 10.0.0.1 " + std::string(address) + " 1 1\r\n");
  }
  ExpectRefused("PROXY TCP4 10.0.0.1\0 10.0.0.2 1 1\r\n"s);
  for (const char* port :
       {"00", "01", "+1", "-1", "65536", "4294967297", "1a", "0x1", "1.0"}) {
    ExpectRefused("PROXY TCP4 10.0.0.1 10.0.0.2 " + std::string(port) +
                  " 1\r\n");
    ExpectRefused("PROXY TCP4 10.0.0.1 10.0.0.2 1 " + std::string(port) +
                  "\r\n");
  }
}

TEST_F(ProxyHeaderTest, BlocksWithAddresses) {
  ExpectRead(Block(kProxy, kTcp4, kAddresses4), kFrom4);
  ExpectRead(Block(kProxy, kTcp6, kAddresses6),
             {ProxyHeaderOutcome::kVersion2, "[2001:db8::7]:40000"});
  const std::string mapped =
      std::string(10, 0) + "\xFF\xFF\xCB\x00\x71\x09"s + kAddresses6.substr(16);
  ExpectRead(Block(kProxy, kTcp6, mapped), kFrom4);
}

TEST_F(ProxyHeaderTest, BlocksWithoutAnAddressOfTcp) {
  ExpectRead(Block(kProxy, kUnix, std::string(216, 'u')), kUnnamed);
  ExpectRead(Block(kProxy, kUnix, std::string(216, 'u') + Tlv(0x04, "")),
             kUnnamed);
  ExpectRead(Block(kProxy, 0x00, ""), kUnnamed);
  ExpectRead(Block(kProxy, 0x00, "whatever"), kUnnamed);
}

// A health check has to be accepted whatever else it says.
TEST_F(ProxyHeaderTest, LocalIsAccepted) {
  ExpectRead(Block(kLocal, 0x00, ""), kHealthCheck);
  ExpectRead(Block(kLocal, kTcp4, kAddresses4), kHealthCheck);
  ExpectRead(Block(kLocal, kTcp4, "abc"), kHealthCheck);
  ExpectRead(Block(kLocal, 0xFF, "anything"), kHealthCheck);
}

TEST_F(ProxyHeaderTest, OtherFamiliesAreRefused) {
  for (const uint8_t family :
       {0x01, 0x02, 0x10, 0x12, 0x13, 0x20, 0x22, 0x30, 0x32, 0x41, 0xFF}) {
    ExpectRefused(Block(kProxy, family, std::string(216, 0)));
  }
}

TEST_F(ProxyHeaderTest, OtherVersionsAndCommandsAreRefusedAtOnce) {
  for (const uint8_t command : {0x00, 0x01, 0x10, 0x11, 0x22, 0x2F, 0x31}) {
    ExpectRefused(std::string(kSignature) + static_cast<char>(command));
  }
}

TEST_F(ProxyHeaderTest, AnotherBeginningIsRefusedAtItsFirstByte) {
  for (const char* begin : {"REDQ", "GET / HTTP/1.1\r\n", "\x16\x03\x01",
                            "CONNECT a:1 HTTP/1.1\r\n\r\n", "P", "\r\n\r\n"}) {
    Connect();
    Send(begin);
    const std::string_view text(begin);
    EXPECT_EQ(done_, text != "P" && text != "\r\n\r\n") << begin;
    Send("X");
    EXPECT_TRUE(done_);
    EXPECT_FALSE(header_.has_value());
  }
  for (size_t at = 0; at < kSignature.size(); ++at) {
    std::string signature(kSignature);
    signature[at] ^= 0x20;
    ExpectRefused(signature);
  }
}

TEST_F(ProxyHeaderTest, LengthsAreHonoured) {
  ExpectRefused(Block(kProxy, kTcp4, kAddresses4.substr(1)));
  ExpectRefused(Block(kProxy, kTcp6, kAddresses6.substr(1)));
  ExpectRefused(Block(kProxy, kTcp6, kAddresses4));
  ExpectRefused(Block(kProxy, kUnix, std::string(215, 'u')));
  ExpectRefused(Block(kProxy, kTcp4, ""));
}

TEST_F(ProxyHeaderTest, LongBlocksHaveABound) {
  constexpr size_t kFixedLen = 16;
  const size_t room = kMaxProxyHeaderBytes - kFixedLen - kAddresses4.size() - 3;
  ExpectSplitAt(Extended(Tlv(0x04, std::string(room, 'n'))), 1'000, kFrom4);
  // Refused by its length, before the rest of it is here.
  const std::string longer = Extended(Tlv(0x04, std::string(room + 1, 'n')));
  ExpectRefused(longer.substr(0, kFixedLen));
  ExpectRefused(Block(kLocal, 0, std::string(0xFFFF, 0)).substr(0, kFixedLen));
}

TEST_F(ProxyHeaderTest, ExtensionsArePassedOver) {
  ExpectRead(Extended(Tlv(0x01, "h2") + Tlv(0x02, "gate.example.org") +
                      Tlv(0x04, std::string(7, 'p')) + Tlv(0xE0, "custom")),
             kFrom4);
  ExpectRead(Extended(Tlv(0x04, "")), kFrom4);
  ExpectRead(Extended(Tlv(0x05, std::string(128, 'i'))), kFrom4);
  ExpectRefused(Extended(Tlv(0x05, std::string(129, 'i'))));
}

TEST_F(ProxyHeaderTest, BrokenLengthsOfExtensionsAreRefused) {
  for (const std::string& broken :
       {"\x04"s, "\x04\x00"s, "\x04\x00\x01"s, "\x04\xFF\xFF"s}) {
    ExpectRefused(Extended(broken));
  }
  ExpectRefused(Extended(Tlv(0x04, "noop") + "\x01\x00\x03h2"s));
}

TEST_F(ProxyHeaderTest, TlsOfTheClient) {
  const std::string fixed = "\x07\x00\x00\x00\x00"s;
  const std::string inner = Tlv(0x21, "TLSv1.3") + Tlv(0x22, "a user") +
                            Tlv(0x23, "TLS_AES_128_GCM_SHA256") +
                            Tlv(0x28, std::string(300, 'c'));
  ExpectRead(Extended(Tlv(0x20, fixed)), kFrom4);
  ExpectRead(Extended(Tlv(0x20, fixed + Tlv(0x21, "TLSv1.3"))), kFrom4);
  ExpectSplitAt(Extended(Tlv(0x20, fixed + inner)), 100, kFrom4);
  ExpectRefused(Extended(Tlv(0x20, "")));
  ExpectRefused(Extended(Tlv(0x20, fixed.substr(1))));
  ExpectRefused(Extended(Tlv(0x20, fixed + "\x21")));
  ExpectRefused(Extended(Tlv(0x20, fixed + "\x21\x00\x02T"s)));
  // The inner one's length reaches into the TLV behind the outer one.
  ExpectRefused(Extended(Tlv(0x20, fixed + "\x21\x00\x04T"s) + Tlv(0x04, "")));
}

TEST_F(ProxyHeaderTest, AChecksumHasToBeRight) {
  ExpectRead(Checked("", ""), kFrom4);
  ExpectRead(Checked(Tlv(0x01, "h2"), Tlv(0x04, "noop")), kFrom4);
  const std::string before = Tlv(0x01, "h2");
  const std::string right = Checked(before, Tlv(0x04, "noop"));
  // One bit anywhere behind the fixed part: what it says, the sum, the rest.
  // With another type the sum is none.
  const size_t type_at = 16 + kAddresses4.size() + before.size();
  for (size_t at = 16; at < right.size(); ++at) {
    std::string wrong = right;
    wrong[at] ^= 0x01;
    EXPECT_EQ(ParseProxyHeader(Bytes(wrong)).has_value(), at == type_at) << at;
  }
  ExpectRefused(Extended(Tlv(0x03, std::string(4, 0))));
}

TEST_F(ProxyHeaderTest, AChecksumHasFourBytesAndComesOnce) {
  for (const size_t len : {0, 1, 3, 5, 8}) {
    ExpectRefused(Extended(Tlv(0x03, std::string(len, 0))));
  }
  const std::string sum = Tlv(0x03, std::string(4, 0));
  ExpectRefused(Checked(sum, ""));
  ExpectRefused(Checked("", sum));
}

TEST_F(ProxyHeaderTest, AClientThatEndsInsideItIsGone) {
  const std::string line = "PROXY TCP4 203.0.113.9 10.0.0.1 40000 3128\r\n";
  const std::string block = Block(kProxy, kTcp4, kAddresses4);
  for (const std::string& header : {line, block}) {
    for (size_t len = 0; len < header.size(); ++len) {
      Connect();
      Send(header.substr(0, len));
      EXPECT_FALSE(done_);
      client_.ShutdownWrite();
      Run();
      EXPECT_TRUE(done_);
      EXPECT_FALSE(header_.has_value());
    }
  }
}

TEST_F(ProxyHeaderTest, AnInterruptEndsIt) {
  Connect();
  Send("PROXY TCP4 ");
  EXPECT_FALSE(done_);
  leg_.socket->Interrupt(-ETIMEDOUT);
  Run();
  EXPECT_TRUE(done_);
  EXPECT_FALSE(header_.has_value());
}

// The functions over bytes on their own: nothing that is not whole is parsed.
TEST(ParseProxyHeaderTest, OnlyWholeHeadersAreParsed) {
  const std::string block = Block(kProxy, kTcp4, kAddresses4);
  EXPECT_TRUE(ParseProxyHeader(Bytes(block)).has_value());
  EXPECT_FALSE(ParseProxyHeader(Bytes(block + "x")).has_value());
  EXPECT_FALSE(ParseProxyHeader({}).has_value());
  EXPECT_FALSE(
      ParseProxyHeader(Bytes(block).first(block.size() - 1)).has_value());
  const std::string line = "PROXY UNKNOWN\r\n";
  EXPECT_TRUE(ParseProxyHeader(Bytes(line)).has_value());
  EXPECT_FALSE(ParseProxyHeader(Bytes(line + "x")).has_value());
  EXPECT_FALSE(ParseProxyHeader(Bytes(line + line)).has_value());
}

}  // namespace
}  // namespace spicegate
