// SPDX-License-Identifier: Apache-2.0
//
// What all clouds share, and what tests put in its place.
#ifndef SPICEGATE_GATEWAY_CLOUD_CLOUD_CONTEXT_H_
#define SPICEGATE_GATEWAY_CLOUD_CLOUD_CONTEXT_H_

#include <cstdint>
#include <functional>

#include "gateway/cloud/delay_queue.h"
#include "gateway/http_client/http_client.h"

namespace spicegate {

// Makes HTTP requests; HttpClient in the product.
class HttpCaller {
 public:
  virtual ~HttpCaller() = default;

  // As HttpClient::Start: `done` exactly once, never inside this call.
  virtual void Start(HttpCall call, HttpClient::Done done) = 0;
};

// Outlives every cloud. Control thread only.
struct CloudContext {
  HttpCaller* http = nullptr;
  DelayQueue timers{};
  std::function<int64_t()> now_ms{};  // monotonic
  std::function<int64_t()> wall_s{};  // since 1970
  std::function<double()> random{};   // 0 <= random() < 1
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_CLOUD_CONTEXT_H_
