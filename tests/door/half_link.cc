// SPDX-License-Identifier: Apache-2.0
#include "tests/door/half_link.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <span>

#include "proto/link.h"
#include "proto/wire.h"
#include "tests/peer/link_client.h"
#include "tests/peer/ticket_cipher.h"

namespace spicegate {
namespace {

std::unique_ptr<PeerStream> ConnectFrom(PeerLoop* loop, uint32_t source,
                                        uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(source);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)),
            0);
  address.sin_addr.s_addr = htonl(kOwnAddress);
  address.sin_port = htons(port);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)),
            0);
  EXPECT_EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
  return std::make_unique<PeerStream>(loop, fd);
}

}  // namespace

HalfLink::HalfLink(PeerLoop* loop, const Options& options)
    : loop_(loop),
      stream_(ConnectFrom(loop, options.source, options.port)),
      reply_(proto::kLinkHeaderLen) {
  const std::vector<uint8_t> link = BuildLink(
      {.channel = options.channel, .connection_id = options.connection_id});
  EXPECT_EQ(loop_->Run(stream_->Write(link)), 0);
  EXPECT_EQ(loop_->Run(stream_->ReadFull(reply_)),
            static_cast<int64_t>(reply_.size()));
  const size_t body_len = proto::LoadU32(reply_.data() + 12);
  reply_.resize(proto::kLinkHeaderLen + body_len);
  EXPECT_EQ(loop_->Run(stream_->ReadFull(
                std::span(reply_).subspan(proto::kLinkHeaderLen))),
            static_cast<int64_t>(body_len));
}

std::vector<uint8_t> HalfLink::Authenticate(const std::string& ticket) {
  const auto key =
      std::span(reply_).subspan(proto::kLinkHeaderLen + 4, proto::kPubKeyLen);
  const auto block = EncryptTicket(key, PeerTicketPlaintext(ticket));
  EXPECT_TRUE(block.has_value());
  std::vector<uint8_t> auth = {proto::kAuthMechanismSpice, 0, 0, 0};
  auth.insert(auth.end(), block->begin(), block->end());
  EXPECT_EQ(loop_->Run(stream_->Write(auth)), 0);
  std::vector<uint8_t> answer(proto::kLinkResultLen);
  loop_->Run(stream_->ReadFull(answer));
  if (answer != LinkIsOpen()) {
    EXPECT_EQ(loop_->Run(ReadToEnd(stream_.get(), &answer)), PeerEnd::kFin);
  }
  return answer;
}

std::vector<uint8_t> LinkIsOpen() {
  return std::vector<uint8_t>(proto::kLinkResultLen);
}

}  // namespace spicegate
