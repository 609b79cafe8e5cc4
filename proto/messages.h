// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_PROTO_MESSAGES_H_
#define SPICEGATE_PROTO_MESSAGES_H_

// Message ids of every channel in both directions. kMsg... goes from server to
// client, kMsgc... from client to server (SPICE's own prefixes). Ids below 101
// are common to all channels; from 101 up they belong to channel and direction.
// Unscoped enums on purpose: they are compared with DataHeader::type.

#include <cstdint>
#include <string_view>

#include "proto/channel.h"

namespace spicegate::proto {

// ---- Every channel ----

enum CommonServerMessage : uint16_t {
  kMsgMigrate = 1,
  kMsgMigrateData = 2,
  kMsgSetAck = 3,
  kMsgPing = 4,
  kMsgWaitForChannels = 5,
  kMsgDisconnecting = 6,
  kMsgNotify = 7,
  kMsgList = 8,  // A sub-message list; sent with mini headers only.
};

enum CommonClientMessage : uint16_t {
  kMsgcAckSync = 1,
  kMsgcAck = 2,
  kMsgcPong = 3,
  // Aborts QEMU outside a migration.
  kMsgcMigrateFlushMark = 4,
  kMsgcMigrateData = 5,
  kMsgcDisconnecting = 6,
};

// ---- Main ----

enum MainServerMessage : uint16_t {
  kMsgMainMigrateBegin = 101,
  kMsgMainMigrateCancel = 102,
  kMsgMainInit = 103,
  kMsgMainChannelsList = 104,
  kMsgMainMouseMode = 105,
  kMsgMainMultiMediaTime = 106,
  kMsgMainAgentConnected = 107,
  kMsgMainAgentDisconnected = 108,
  kMsgMainAgentData = 109,
  kMsgMainAgentToken = 110,
  kMsgMainMigrateSwitchHost = 111,
  kMsgMainMigrateEnd = 112,
  kMsgMainName = 113,
  kMsgMainUuid = 114,
  kMsgMainAgentConnectedTokens = 115,
  kMsgMainMigrateBeginSeamless = 116,
  kMsgMainMigrateDstSeamlessAck = 117,
  kMsgMainMigrateDstSeamlessNack = 118,
};

enum MainClientMessage : uint16_t {
  // spice-server closes the channel on it; no viewer sends it.
  kMsgcMainClientInfo = 101,
  kMsgcMainMigrateConnected = 102,
  kMsgcMainMigrateConnectError = 103,
  kMsgcMainAttachChannels = 104,
  kMsgcMainMouseModeRequest = 105,
  kMsgcMainAgentStart = 106,
  kMsgcMainAgentData = 107,
  kMsgcMainAgentToken = 108,
  kMsgcMainMigrateEnd = 109,
  // Aborts QEMU anywhere but, once, at a migration's destination.
  kMsgcMainMigrateDstDoSeamless = 110,
  kMsgcMainMigrateConnectedSeamless = 111,
  // Fatal to spice-server's channel.
  kMsgcMainQualityIndicator = 112,
};

// ---- Display ----

enum DisplayServerMessage : uint16_t {
  kMsgDisplayMode = 101,
  kMsgDisplayMark = 102,
  kMsgDisplayReset = 103,
  kMsgDisplayCopyBits = 104,
  kMsgDisplayInvalList = 105,
  kMsgDisplayInvalAllPixmaps = 106,
  kMsgDisplayInvalPalette = 107,
  kMsgDisplayInvalAllPalettes = 108,
  kMsgDisplayStreamCreate = 122,
  kMsgDisplayStreamData = 123,
  kMsgDisplayStreamClip = 124,
  kMsgDisplayStreamDestroy = 125,
  kMsgDisplayStreamDestroyAll = 126,
  kMsgDisplayDrawFill = 302,
  kMsgDisplayDrawOpaque = 303,
  kMsgDisplayDrawCopy = 304,
  kMsgDisplayDrawBlend = 305,
  kMsgDisplayDrawBlackness = 306,
  kMsgDisplayDrawWhiteness = 307,
  kMsgDisplayDrawInvers = 308,
  kMsgDisplayDrawRop3 = 309,
  kMsgDisplayDrawStroke = 310,
  kMsgDisplayDrawText = 311,
  kMsgDisplayDrawTransparent = 312,
  kMsgDisplayDrawAlphaBlend = 313,
  kMsgDisplaySurfaceCreate = 314,
  kMsgDisplaySurfaceDestroy = 315,
  kMsgDisplayStreamDataSized = 316,
  kMsgDisplayMonitorsConfig = 317,
  kMsgDisplayDrawComposite = 318,
  kMsgDisplayStreamActivateReport = 319,
  // 320 and 323 pass a descriptor: UNIX sockets only.
  kMsgDisplayGlScanoutUnix = 320,
  kMsgDisplayGlDraw = 321,
  kMsgDisplayQualityIndicator = 322,
  kMsgDisplayGlScanout2Unix = 323,
};

enum DisplayClientMessage : uint16_t {
  // Exactly once: a second one aborts QEMU.
  kMsgcDisplayInit = 101,
  kMsgcDisplayStreamReport = 102,
  kMsgcDisplayPreferredCompression = 103,
  kMsgcDisplayGlDrawDone = 104,
  kMsgcDisplayPreferredVideoCodecType = 105,
};

// ---- Inputs ----

enum InputsServerMessage : uint16_t {
  kMsgInputsInit = 101,
  kMsgInputsKeyModifiers = 102,
  kMsgInputsMouseMotionAck = 111,
};

enum InputsClientMessage : uint16_t {
  kMsgcInputsKeyDown = 101,
  kMsgcInputsKeyUp = 102,
  kMsgcInputsKeyModifiers = 103,
  kMsgcInputsKeyScancode = 104,
  kMsgcInputsMouseMotion = 111,
  kMsgcInputsMousePosition = 112,
  kMsgcInputsMousePress = 113,
  kMsgcInputsMouseRelease = 114,
};

// ---- Cursor (the client sends only common messages) ----

enum CursorServerMessage : uint16_t {
  kMsgCursorInit = 101,
  kMsgCursorReset = 102,
  kMsgCursorSet = 103,
  kMsgCursorMove = 104,
  kMsgCursorHide = 105,
  kMsgCursorTrail = 106,
  kMsgCursorInvalOne = 107,
  kMsgCursorInvalAll = 108,
};

// ---- Playback (the client sends only common messages) and record ----

enum PlaybackServerMessage : uint16_t {
  kMsgPlaybackData = 101,
  kMsgPlaybackMode = 102,
  kMsgPlaybackStart = 103,
  kMsgPlaybackStop = 104,
  kMsgPlaybackVolume = 105,
  kMsgPlaybackMute = 106,
  kMsgPlaybackLatency = 107,
};

enum RecordServerMessage : uint16_t {
  kMsgRecordStart = 101,
  kMsgRecordStop = 102,
  kMsgRecordVolume = 103,
  kMsgRecordMute = 104,
};

enum RecordClientMessage : uint16_t {
  kMsgcRecordData = 101,
  kMsgcRecordMode = 102,
  kMsgcRecordStartMark = 103,
};

// ---- Smartcard ----

enum SmartcardServerMessage : uint16_t {
  kMsgSmartcardData = 101,
};

enum SmartcardClientMessage : uint16_t {
  kMsgcSmartcardData = 101,
};

// ---- Usbredir, port, webdav: spice-server's "spicevmc" ----

enum SpicevmcServerMessage : uint16_t {
  kMsgSpicevmcData = 101,
  kMsgSpicevmcCompressedData = 102,
};

enum SpicevmcClientMessage : uint16_t {
  kMsgcSpicevmcData = 101,
  kMsgcSpicevmcCompressedData = 102,
};

// In addition on port and webdav.
enum PortServerMessage : uint16_t {
  kMsgPortInit = 201,
  kMsgPortEvent = 202,
};

enum PortClientMessage : uint16_t {
  kMsgcPortEvent = 201,
};

// The name of a message: "main_init", "display_draw_copy", "pong"...; "unknown"
// for an id that is not in the lists above, and for every id of an unknown type
// beyond the common ones. Static storage.
std::string_view MessageName(ChannelType channel, Direction direction,
                             uint16_t id);

// True when MessageName() knows the id. Known is not allowed: what a client may
// send when is the guard's business.
bool IsKnownMessage(ChannelType channel, Direction direction, uint16_t id);

}  // namespace spicegate::proto

#endif  // SPICEGATE_PROTO_MESSAGES_H_
