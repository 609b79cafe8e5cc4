// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/unread_stream.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

namespace spicegate {
namespace {

class UnreadStream final : public Stream {
 public:
  UnreadStream(StreamPtr inner, std::span<const uint8_t> bytes)
      : inner_(std::move(inner)), bytes_(bytes.begin(), bytes.end()) {}

  ssize_t Read(std::span<uint8_t> out) override;
  ssize_t Write(std::span<const uint8_t> in) override {
    return inner_->Write(in);
  }
  bool CanSpliceIn() const override {
    return bytes_.empty() && inner_->CanSpliceIn();
  }
  bool CanSpliceOut() const override { return inner_->CanSpliceOut(); }
  ssize_t SpliceIn(const Pipe& pipe, size_t max_bytes) override;
  ssize_t SpliceOut(const Pipe& pipe, size_t max_bytes) override {
    return inner_->SpliceOut(pipe, max_bytes);
  }
  bool ShortReadDrains() const override {
    return !last_read_was_ours_ && inner_->ShortReadDrains();
  }
  int ShutdownWrite() override { return inner_->ShutdownWrite(); }
  bool CloseIsShutdown() const override { return inner_->CloseIsShutdown(); }
  std::unique_ptr<Stream> BeginRelaying(Socket* socket,
                                        WorkerCounters* counters) override;
  Ready ReadWait() const override { return inner_->ReadWait(); }
  Ready WriteWait() const override { return inner_->WriteWait(); }

 private:
  StreamPtr inner_;
  std::vector<uint8_t> bytes_;
  size_t num_given_ = 0;  // of bytes_
  bool last_read_was_ours_ = false;
};

// One source a read: a failure of the inner stream, which may be told only
// once, must not come behind bytes in the same result.
ssize_t UnreadStream::Read(std::span<uint8_t> out) {
  last_read_was_ours_ = !bytes_.empty();
  if (!last_read_was_ours_) {
    return inner_->Read(out);
  }
  const size_t len = std::min(out.size(), bytes_.size() - num_given_);
  std::copy_n(bytes_.begin() + static_cast<ptrdiff_t>(num_given_), len,
              out.begin());
  num_given_ += len;
  if (num_given_ == bytes_.size()) {
    bytes_ = {};
  }
  return static_cast<ssize_t>(len);
}

ssize_t UnreadStream::SpliceIn(const Pipe& pipe, size_t max_bytes) {
  return bytes_.empty() ? inner_->SpliceIn(pipe, max_bytes) : -EINVAL;
}

std::unique_ptr<Stream> UnreadStream::BeginRelaying(Socket* socket,
                                                    WorkerCounters* counters) {
  auto next = inner_->BeginRelaying(socket, counters);
  if (next == nullptr || bytes_.empty()) {
    return next;
  }
  inner_ = std::move(next);
  return nullptr;
}

}  // namespace

StreamPtr Unread(StreamPtr inner, std::span<const uint8_t> bytes) {
  if (bytes.empty()) {
    return inner;
  }
  return std::make_unique<UnreadStream>(std::move(inner), bytes);
}

}  // namespace spicegate
