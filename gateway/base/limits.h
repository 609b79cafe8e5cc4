// SPDX-License-Identifier: Apache-2.0
//
// Every bound of the gateway, each with its reason. docs/limits.md is the same
// table for operators; a limit that the configuration can change is a member
// of Limits, all others are constants.
#ifndef SPICEGATE_GATEWAY_BASE_LIMITS_H_
#define SPICEGATE_GATEWAY_BASE_LIMITS_H_

#include <cstddef>
#include <cstdint>

namespace spicegate {

// Changed by the configuration's "limits" object; read-only once started.
struct Limits {
  // From accept to an accepted ticket, all of it. Absolute, not idle time, so
  // that a client sending a byte a second gains nothing. Viewers give up
  // connecting after 10 s themselves.
  int64_t preauth_deadline_ms = 10'000;

  // One TCP or unix connect to the server, name resolution included.
  int64_t server_connect_ms = 3'000;

  // TLS and link with the server; once more for ticket and result. spice-server
  // makes an RSA key per link on QEMU's main thread: 6 ms each, ten in a row at
  // session start.
  int64_t server_link_ms = 5'000;

  // A link to a migration's destination: name, connection, TLS, link, ticket,
  // all of it. A viewer reads nothing of its main until all its links are made,
  // for ever if one hangs, and the source waits 10 s for it to be done.
  int64_t migration_link_ms = 3'500;

  // How long a half-closed channel may stay silent before both legs end.
  int64_t half_close_ms = 30'000;

  // How long a tunnel may stay without a byte either way. Nobody sees what is
  // inside it, and a channel that nobody uses has its server's pings only,
  // which come every 300 s: never below kShortestTunnelIdleMs. 0: for ever, TCP
  // keepalive alone finds out who has vanished.
  int64_t tunnel_idle_ms = 900'000;

  // A display client that does not send its INIT. spice-server itself waits
  // 30 s; its display link is only made once INIT is here.
  int64_t display_init_ms = 30'000;

  // Client connections of the process, in any state. Each needs two
  // descriptors once it is relayed. 0: as many as RLIMIT_NOFILE has room for,
  // from kFewestAutomaticLinks to kMostAutomaticLinks.
  int64_t max_links = 0;

  // Channels of one session. A desktop with four monitors, audio and ten USB
  // ports has 22.
  int64_t max_channels_per_session = 64;

  // Tickets issued and not yet over.
  int64_t max_tickets = 100'000;

  // Links of the portal that turn out to be of no desktop, of one source,
  // before it has to wait; one is forgiven every kPortalForgiveMs. A person
  // opens an old link a few times, a guesser has 122 bits to find.
  int64_t portal_failures = 10;

  // Connections to the portal at once, in any state. Each has at most a
  // request's head and an answer in memory, and a descriptor.
  int64_t portal_connections = 2048;
};

// One failure of a source at the portal is forgotten after so long.
inline constexpr int64_t kPortalForgiveMs = 6'000;

// Bounds of tunnel_idle_ms other than 0: a ping's 300 s and a minute; a day.
inline constexpr int64_t kShortestTunnelIdleMs = 360'000;
inline constexpr int64_t kLongestTunnelIdleMs = 86'400'000;

// How long the server's leg of a tunnel outlives its client. Inside TLS the
// gateway cannot see whether a display is in its critical moment. Behind INIT
// QEMU is done with it within 50 ms (measured). Without INIT it crashes
// whenever the leg ends within the 30 s that it waits for it, and never later
// (measured): a young tunnel that has brought the client no more than a TLS
// handshake and a link may be such a display, and its leg stays until it is
// that old. A viewer's other channels end sooner, when its main channel does.
inline constexpr int64_t kTunnelLingerMs = 2'000;
inline constexpr int64_t kTunnelBlindLingerMs = 31'000;
inline constexpr int64_t kTunnelHandshakeBytes = 16 * 1024;

// Bounds of an automatic max_links. Below the lower one a node is of no use
// and refuses to start; the upper one is 2 000 desktops.
inline constexpr int64_t kFewestAutomaticLinks = 256;
inline constexpr int64_t kMostAutomaticLinks = 20'000;

// A pump keeps at most this much of what it has read and could not yet write.
// It is also the most it reads at once: a slow reader costs this and no more.
inline constexpr size_t kPumpBufferBytes = 64 * 1024;

// Bytes after which a pump gives others their turn. A splice under way is
// finished, so that it may be a pipe's worth more.
inline constexpr size_t kPumpQuantumBytes = 256 * 1024;

// The same for a pump of an interactive channel that runs ahead of the others:
// more than any burst of inputs, cursor or audio.
inline constexpr size_t kInteractiveQuantumBytes = 64 * 1024;

// Bytes a session's queued channels may move before every other session with
// work has had as much, and bytes a worker moves before it looks for
// interactive work again (about 50 us of splicing).
inline constexpr size_t kSessionRoundBytes = 256 * 1024;
inline constexpr size_t kTurnBytes = 512 * 1024;

// Longest search for more interactive work before a worker sleeps: two or three
// times what a busy peer on the same network takes to answer.
inline constexpr int64_t kDefaultSpinUs = 50;

// Pipes that a worker splices through: size of one, the smallest that is worth
// it, how many at most (each costs two descriptors and, while its reader
// stalls, its size of kernel memory), and how soon another is tried when one
// could not be had. 64 KiB cost a third more a byte than 256 KiB, 1 MiB gains
// nothing (docs/decisions/0003).
inline constexpr size_t kPipeBytes = 256 * 1024;
inline constexpr size_t kFewestPipeBytes = 64 * 1024;
inline constexpr size_t kMaxPipes = 256;
inline constexpr int64_t kPipeRetryMs = 100;

// A direction is spliced after this many reads of at least that size without a
// small one between them, and copied again after this many small ones in a row.
// Copying a small message costs a third less than splicing it, copying a large
// one three times more.
inline constexpr size_t kSpliceFromBytes = 32 * 1024;
inline constexpr int kLargeReadsToSplice = 2;
inline constexpr size_t kCopyBelowBytes = 8 * 1024;
inline constexpr int kSmallReadsToCopy = 4;

// Blocks that one AES-GCM key may encrypt, 2^34.5 (RFC 8446, 5.5): 380 GB. A
// channel that has sent so much gets a new key in user space and is closed
// where the kernel has the key, which cannot be changed.
inline constexpr uint64_t kMaxTlsKeyBlocks = 24'296'004'000;

// MIGRATE_DATA of one channel, kept to be compared with what the client brings
// to the destination. Most have a hundred bytes; main's has in it what the
// agent has not yet read, 20 KiB, and a display's 24 bytes for each surface.
inline constexpr size_t kMaxMigrationDataBytes = 256 * 1024;

// Channels in a server's list. One for each USB port, screen and port device;
// QEMU can have a few hundred devices.
inline constexpr size_t kMaxListedChannels = 1024;

// Longest time without a look at the certificate of a server: a TLS session
// with it is resumed for so long. A desktop opens its channels within seconds.
inline constexpr unsigned kServerSessionLifeS = 3600;

// Control records (tickets, warnings, empty ones) taken from one connection
// before others have their turn.
inline constexpr int kMaxTlsControlRecords = 32;

// How long kernel TLS may take to pass its last record on while the socket has
// room, before the socket's end is sent all the same. Its own retry comes
// within 10 ms.
inline constexpr int64_t kTlsEndMs = 200;

// One splice towards kernel TLS. More than a record at once can leave the
// connection waiting for ever on Linux 6.1.
inline constexpr size_t kTlsSpliceBytes = 16 * 1024;

// Clients beyond max_links that a worker tells so, with CONNECT's 503, instead
// of resetting them at once: descriptors above the limit.
inline constexpr int kMaxTurnedAway = 32;

// Completions a driver hands out in one turn.
inline constexpr unsigned kMaxCompletionsPerTurn = 512;

// Entries of a worker's submission and completion queue. One turn submits one
// entry for each socket that became idle; the completion queue is larger so
// that a burst never overflows it (multishot operations end when it does).
inline constexpr unsigned kRingSubmissionEntries = 2048;
inline constexpr unsigned kRingCompletionEntries = 8192;

// Pause of a listener after the process ran out of descriptors. Re-arming at
// once would spin.
inline constexpr int64_t kAcceptPauseMs = 100;

// Connections waiting to be accepted, for each listener of each worker.
inline constexpr int kListenBacklog = 1024;

// A display leg whose ticket is already with the server may not be closed,
// whatever happens, until its first message is here. QEMU answers within
// milliseconds, but its main loop and display worker can be stuck for 29 s
// behind another display. Counted from the ticket to INIT, then from INIT to
// the first message; when it runs out the leg is closed unsafely and counted.
inline constexpr int64_t kDisplayCommittedMs = 35'000;

// A display at the destination of a migration that its client has taken over
// with MIGRATE_END, and whose INIT does not come: QEMU's display worker polls
// for it and does nothing else. Viewers send both at once.
inline constexpr int64_t kDestinationDisplayMs = 10'000;

// Migrations that a server may announce in a row before its client has answered
// one. Each costs a TLS context and a line in the log; real ones are minutes
// apart.
inline constexpr int kMaxAnnouncements = 16;

// After a server has sent its clients elsewhere (MIGRATE_SWITCH_HOST): how long
// their ticket leads there. They come back at once.
inline constexpr int64_t kSwitchHostMs = 30'000;

// After an error answer: how long the peer may take to read it before the
// socket goes. Closing with unread input would make the kernel send RST and
// the peer lose the answer.
inline constexpr int64_t kRefusalLingerMs = 1'000;

// From SIGTERM to the end, whatever still lingers. A gateway without a display
// in its critical moment stops at once; one with such a display waits as long
// as its QEMU may be stuck, because ending earlier would crash it.
inline constexpr int64_t kStopDeadlineMs = kDisplayCommittedMs + 2'000;

// The link key is replaced this often. 1024-bit keys are what SPICE demands and
// can be broken with great effort; an hour is short beside that and long beside
// the 6 ms that making one takes.
inline constexpr int64_t kLinkKeyLifeMs = 3'600'000;

// TCP keepalive of both legs. A peer that vanished from an idle channel is
// given up after kTcpUserTimeoutMs, which with Linux takes the place of a
// number of probes (tcp(7)).
inline constexpr int kKeepaliveIdleSeconds = 60;
inline constexpr int kKeepaliveIntervalSeconds = 10;

// Data may stay unacknowledged, or a peer's window closed, for this long before
// a leg counts as dead. Linux applies one limit to both, so it must outlast a
// viewer that is suspended or stopped in a debugger; spice-server's own
// patience is ten minutes too.
inline constexpr unsigned kTcpUserTimeoutMs = 600'000;

// Main links of one ticket under way at once: a viewer and its reconnect. Each
// costs its QEMU an RSA key and ends the session before it.
inline constexpr int kMaxMainsOpening = 2;

// Servers dialled for one session before the ticket of the channel is here,
// under way or in vain: what a stranger who shares the client's address and
// knows the session's id can cost its QEMU, an RSA key each. A desktop with
// four monitors, audio and ten USB ports opens 21 channels at once behind main.
inline constexpr int kMaxEarlyDials = 32;

// Longest messages of a client, where QEMU would allocate whatever a header
// claims (gateway/relay/guard_rules.cc). port and webdav: viewers send 64 KiB
// at once.
inline constexpr size_t kMaxDeviceDataBytes = 1024 * 1024;
// A packet of usbredir without its header. Viewers send each as one message,
// and one is a whole USB transfer: 1 MiB of a disk as Linux reads it, and a few
// bytes of what it answers to.
inline constexpr size_t kMaxUsbPacketBytes = 4 * 1024 * 1024;
// What a smartcard says behind its header. QEMU's reader has room for as much.
inline constexpr size_t kMaxCardDataBytes = 64 * 1024;
// A frame of recorded sound: 10 ms are 1 924 bytes with their time.
inline constexpr size_t kMaxRecordDataBytes = 4096;
// How it is coded: six bytes, and room for what a codec may add.
inline constexpr size_t kMaxRecordModeBytes = 64;
// GLZ window that a display's INIT may ask for, in pixels. spice-server's own
// bound (LZ_MAX_WINDOW_SIZE); a larger or negative one aborts QEMU.
inline constexpr int32_t kMaxGlzWindowPx = 1 << 25;
// Scan codes in one message: spice-server's own bound for inputs.
inline constexpr size_t kMaxScancodesBytes = 2048;

// A worker wakes up at least this often, and one that has not turned over for
// kWorkerStalledMs is reported by /livez.
inline constexpr int64_t kMaxSleepMs = 2'000;
inline constexpr int64_t kWorkerStalledMs = 10'000;

// Log lines waiting for the writer; more are dropped and counted.
inline constexpr size_t kMaxQueuedLogLines = 8192;

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_LIMITS_H_
