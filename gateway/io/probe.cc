// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/probe.h"

#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <vector>

#include "gateway/base/limits.h"
#include "gateway/base/unique_fd.h"

namespace spicegate {
namespace {

// Newer than the headers of Debian 12; the value is the kernel's ABI.
constexpr unsigned kFeatRecvSendBundle = 1u << 14;
constexpr int kTcpUlp = 31;

int64_t RaiseLimit(__rlimit_resource_t resource) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0) {
    return 0;
  }
  limit.rlim_cur = limit.rlim_max;
  setrlimit(resource, &limit);
  getrlimit(resource, &limit);
  if (limit.rlim_cur == RLIM_INFINITY) {
    return -1;
  }
  return static_cast<int64_t>(
      std::min<rlim_t>(limit.rlim_cur, std::numeric_limits<int64_t>::max()));
}

bool RingWorks(unsigned flags, unsigned* features) {
  io_uring_params params{};
  params.flags = flags;
  io_uring ring{};
  if (io_uring_queue_init_params(8, &ring, &params) != 0) {
    return false;
  }
  *features = params.features;
  io_uring_queue_exit(&ring);
  return true;
}

// Accepts one connection from ourselves: only a kernel with multishot accept
// says that more will follow.
bool MultishotAcceptWorks() {
  io_uring ring{};
  if (io_uring_queue_init(8, &ring, 0) != 0) {
    return false;
  }
  UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  UniqueFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage address{};
  address.ss_family = AF_UNIX;
  socklen_t len = sizeof(sa_family_t);  // autobind: an abstract name
  bool works = false;
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&address), len) == 0 &&
      listen(listener.get(), 1) == 0 &&
      (len = sizeof(address),
       getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address),
                   &len)) == 0 &&
      connect(client.get(), reinterpret_cast<sockaddr*>(&address), len) == 0) {
    io_uring_prep_multishot_accept(io_uring_get_sqe(&ring), listener.get(),
                                   nullptr, nullptr, SOCK_CLOEXEC);
    io_uring_cqe* cqe = nullptr;
    __kernel_timespec timeout{1, 0};
    if (io_uring_submit_and_wait_timeout(&ring, &cqe, 1, &timeout, nullptr) >=
            0 &&
        cqe != nullptr) {
      works = cqe->res >= 0 && (cqe->flags & IORING_CQE_F_MORE) != 0;
      UniqueFd accepted(cqe->res);
    }
  }
  io_uring_queue_exit(&ring);
  return works;
}

bool KernelTlsWorks() {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  // Without the module ENOENT; with it ENOTCONN, as this socket has no peer.
  return setsockopt(fd.get(), IPPROTO_TCP, kTcpUlp, "tls", 4) == 0 ||
         errno == ENOTCONN;
}

// Makes the rings of all workers at once. Whether and how the kernel charges
// them to the limit differs by version and capability, so it is tried. 0 or
// the errno of the first one that could not be made.
int MakeRings(int64_t num_rings) {
  std::vector<io_uring> rings(static_cast<size_t>(num_rings));
  size_t made = 0;
  int error = 0;
  for (io_uring& ring : rings) {
    io_uring_params params{};
    params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    params.cq_entries = kRingCompletionEntries;
    error = -io_uring_queue_init_params(kRingSubmissionEntries, &ring, &params);
    if (error != 0) {
      break;
    }
    ++made;
  }
  for (size_t i = 0; i < made; ++i) {
    io_uring_queue_exit(&rings[i]);
  }
  return error;
}

std::string ReasonRefused(int error) {
  switch (error) {
    case EPERM:
      return "io_uring is disabled: set kernel.io_uring_disabled to 0, or "
             "allow io_uring_setup in the container's seccomp profile";
    case ENOSYS:
      return "this kernel has no io_uring: Linux 6.1 or newer is needed";
    default:
      return std::string("io_uring_setup: ") + std::strerror(error);
  }
}

absl::Status TooSmall(const char* limit, int64_t have, int64_t need,
                      const char* hint) {
  return absl::FailedPreconditionError(
      std::string(limit) + " is " +
      (have < 0 ? std::string("unlimited") : std::to_string(have)) +
      ", at least " + std::to_string(need) + " is needed" + hint);
}

// Why rings cannot be made. Lack of memory means the limit on locked memory,
// which is where the kernel charges them.
absl::Status RingsRefused(int error, const ProbeReport& report) {
  if (error == ENOMEM) {
    return TooSmall("RLIMIT_MEMLOCK", report.memlock_limit_bytes,
                    report.memlock_needed_bytes,
                    " (bytes; LimitMEMLOCK=infinity in the unit, ulimit -l)");
  }
  return absl::UnavailableError(ReasonRefused(error));
}

}  // namespace

int64_t DescriptorsNeeded(const IoNeeds& needs) {
  constexpr int64_t kPerWorker = 16;  // ring, wake-up, listeners
  constexpr int64_t kProcess = 64;    // admin, files, logs
  return 2 * needs.max_links + kPerWorker * needs.num_workers + kProcess +
         needs.other_connections;
}

int64_t LockedBytesNeeded(const IoNeeds& needs) {
  // A submission entry and its index, a completion entry, a page of heads.
  constexpr int64_t kRing = (64 + 4) * int64_t{kRingSubmissionEntries} +
                            16 * int64_t{kRingCompletionEntries} + 4096;
  return 2 * kRing * needs.num_workers;
}

int64_t LinksThatFit(const IoNeeds& needs, int64_t nofile_limit) {
  if (nofile_limit < 0) {
    return kMostAutomaticLinks;
  }
  IoNeeds without_links = needs;
  without_links.max_links = 0;
  const int64_t rest = nofile_limit - DescriptorsNeeded(without_links);
  // Pipes have a part of it, as far as all workers can use it.
  constexpr int64_t kPartForPipes = 16;
  const int64_t for_pipes =
      std::min(rest / kPartForPipes,
               2 * static_cast<int64_t>(kMaxPipes) * needs.num_workers);
  return std::clamp((rest - for_pipes) / 2, kFewestAutomaticLinks,
                    kMostAutomaticLinks);
}

int64_t PipesThatFit(const IoNeeds& needs, int64_t nofile_limit) {
  const int64_t most = static_cast<int64_t>(kMaxPipes);
  if (nofile_limit < 0) {
    return most;
  }
  const int64_t rest = nofile_limit - DescriptorsNeeded(needs);
  return std::clamp(rest / (2 * needs.num_workers), int64_t{0}, most);
}

absl::Status ProbeIo(const IoNeeds& needs, ProbeReport* report) {
  report->nofile_limit = RaiseLimit(RLIMIT_NOFILE);
  report->max_links = needs.max_links != 0
                          ? needs.max_links
                          : LinksThatFit(needs, report->nofile_limit);
  IoNeeds found = needs;
  found.max_links = report->max_links;
  report->nofile_needed = DescriptorsNeeded(found);
  if (report->nofile_limit >= 0 &&
      report->nofile_limit < report->nofile_needed) {
    return TooSmall("RLIMIT_NOFILE", report->nofile_limit,
                    report->nofile_needed,
                    " (LimitNOFILE= in the unit, ulimit -n), or a smaller "
                    "limits.max_links or limits.portal_connections");
  }

  report->max_pipes = PipesThatFit(found, report->nofile_limit);

  report->memlock_limit_bytes = RaiseLimit(RLIMIT_MEMLOCK);
  report->memlock_needed_bytes = LockedBytesNeeded(needs);
  io_uring_params params{};
  io_uring ring{};
  int error = -io_uring_queue_init_params(8, &ring, &params);
  if (error != 0) {
    return RingsRefused(error, *report);
  }
  io_uring_queue_exit(&ring);
  IoFeatures& features = report->features;
  features.ext_arg = (params.features & IORING_FEAT_EXT_ARG) != 0;
  features.recvsend_bundle = (params.features & kFeatRecvSendBundle) != 0;
  unsigned ignored = 0;
  features.single_issuer = RingWorks(IORING_SETUP_SINGLE_ISSUER, &ignored);
  features.defer_taskrun = RingWorks(
      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, &ignored);
  features.multishot_accept = MultishotAcceptWorks();
  features.kernel_tls = KernelTlsWorks();
  if (!features.ext_arg || !features.multishot_accept) {
    return absl::UnavailableError(
        "this kernel's io_uring is too old: Linux 6.1 or newer is needed");
  }

  error = MakeRings(needs.num_workers);
  if (error != 0) {
    return RingsRefused(error, *report);
  }
  return absl::OkStatus();
}

}  // namespace spicegate
