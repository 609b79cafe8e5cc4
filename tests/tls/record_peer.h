// SPDX-License-Identifier: Apache-2.0
//
// A TLS peer whose records the test makes by hand, once BoringSSL has made the
// handshake and the SPICE link with the gateway.
#ifndef SPICEGATE_TESTS_TLS_RECORD_PEER_H_
#define SPICEGATE_TESTS_TLS_RECORD_PEER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tests/peer/peer_stream.h"
#include "tests/peer/traffic.h"
#include "tests/tls/record_cipher.h"

namespace spicegate {

// Loop's thread, between the loop's turns.
class RecordPeer {
 public:
  // From now on `stream` is neither read nor written. It outlives the peer.
  explicit RecordPeer(PeerStream* stream);

  bool is_tls13() const { return sending_.is_tls13(); }

  // The next record, not sent.
  std::vector<uint8_t> Seal(RecordType type, std::span<const uint8_t> plaintext,
                            size_t padding_len = 0) {
    return sending_.Seal(type, plaintext, padding_len);
  }
  // Sends bytes as they are. Fails the test when that fails.
  void Send(std::span<const uint8_t> bytes);
  // ... each of them in a call of its own.
  void SendSingly(std::span<const uint8_t> bytes);
  void SendRecord(RecordType type, std::span<const uint8_t> plaintext,
                  size_t padding_len = 0) {
    Send(Seal(type, plaintext, padding_len));
  }
  // The keys of what is sent from now on.
  void UpdateSendingKeys() { sending_.UpdateKeys(); }

  // FIN; nothing before it.
  void Fin();
  void Reset();

  // Reads records until `reader` has `body_bytes` or the gateway has ended.
  // KeyUpdates are followed, other messages of handshakes dropped. "" or what
  // went wrong.
  std::string ReadPatternUntil(TrafficReader* reader, uint64_t body_bytes);
  // Reads up to the end and drops data.
  PeerEnd ReadToEnd();
  // Alerts read so far, two bytes each.
  const std::vector<uint8_t>& alerts() const { return alerts_; }
  size_t num_key_updates() const { return num_key_updates_; }

 private:
  PeerTask<std::optional<Record>> ReadTask();
  PeerTask<std::string> ReadPatternTask(TrafficReader* reader,
                                        uint64_t body_bytes);
  PeerTask<PeerEnd> ReadToEndTask();
  void Note(const Record& record);

  PeerStream* const stream_;
  // The same socket without BoringSSL.
  PeerStream raw_;
  RecordCipher sending_;
  RecordCipher receiving_;
  std::vector<uint8_t> alerts_;
  size_t num_key_updates_ = 0;
  PeerEnd end_ = PeerEnd::kOpen;
};

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_TLS_RECORD_PEER_H_
