// SPDX-License-Identifier: Apache-2.0
#include "proto/messages.h"

#include <span>

namespace spicegate::proto {
namespace {

struct MessageEntry {
  uint16_t id;
  std::string_view name;
};

using Table = std::span<const MessageEntry>;

constexpr MessageEntry kCommonServer[] = {
    {kMsgMigrate, "migrate"},
    {kMsgMigrateData, "migrate_data"},
    {kMsgSetAck, "set_ack"},
    {kMsgPing, "ping"},
    {kMsgWaitForChannels, "wait_for_channels"},
    {kMsgDisconnecting, "disconnecting"},
    {kMsgNotify, "notify"},
    {kMsgList, "list"},
};
constexpr MessageEntry kCommonClient[] = {
    {kMsgcAckSync, "ack_sync"},
    {kMsgcAck, "ack"},
    {kMsgcPong, "pong"},
    {kMsgcMigrateFlushMark, "migrate_flush_mark"},
    {kMsgcMigrateData, "migrate_data"},
    {kMsgcDisconnecting, "disconnecting"},
};
constexpr MessageEntry kMainServer[] = {
    {kMsgMainMigrateBegin, "main_migrate_begin"},
    {kMsgMainMigrateCancel, "main_migrate_cancel"},
    {kMsgMainInit, "main_init"},
    {kMsgMainChannelsList, "main_channels_list"},
    {kMsgMainMouseMode, "main_mouse_mode"},
    {kMsgMainMultiMediaTime, "main_multi_media_time"},
    {kMsgMainAgentConnected, "main_agent_connected"},
    {kMsgMainAgentDisconnected, "main_agent_disconnected"},
    {kMsgMainAgentData, "main_agent_data"},
    {kMsgMainAgentToken, "main_agent_token"},
    {kMsgMainMigrateSwitchHost, "main_migrate_switch_host"},
    {kMsgMainMigrateEnd, "main_migrate_end"},
    {kMsgMainName, "main_name"},
    {kMsgMainUuid, "main_uuid"},
    {kMsgMainAgentConnectedTokens, "main_agent_connected_tokens"},
    {kMsgMainMigrateBeginSeamless, "main_migrate_begin_seamless"},
    {kMsgMainMigrateDstSeamlessAck, "main_migrate_dst_seamless_ack"},
    {kMsgMainMigrateDstSeamlessNack, "main_migrate_dst_seamless_nack"},
};
constexpr MessageEntry kMainClient[] = {
    {kMsgcMainClientInfo, "main_client_info"},
    {kMsgcMainMigrateConnected, "main_migrate_connected"},
    {kMsgcMainMigrateConnectError, "main_migrate_connect_error"},
    {kMsgcMainAttachChannels, "main_attach_channels"},
    {kMsgcMainMouseModeRequest, "main_mouse_mode_request"},
    {kMsgcMainAgentStart, "main_agent_start"},
    {kMsgcMainAgentData, "main_agent_data"},
    {kMsgcMainAgentToken, "main_agent_token"},
    {kMsgcMainMigrateEnd, "main_migrate_end"},
    {kMsgcMainMigrateDstDoSeamless, "main_migrate_dst_do_seamless"},
    {kMsgcMainMigrateConnectedSeamless, "main_migrate_connected_seamless"},
    {kMsgcMainQualityIndicator, "main_quality_indicator"},
};
constexpr MessageEntry kDisplayServer[] = {
    {kMsgDisplayMode, "display_mode"},
    {kMsgDisplayMark, "display_mark"},
    {kMsgDisplayReset, "display_reset"},
    {kMsgDisplayCopyBits, "display_copy_bits"},
    {kMsgDisplayInvalList, "display_inval_list"},
    {kMsgDisplayInvalAllPixmaps, "display_inval_all_pixmaps"},
    {kMsgDisplayInvalPalette, "display_inval_palette"},
    {kMsgDisplayInvalAllPalettes, "display_inval_all_palettes"},
    {kMsgDisplayStreamCreate, "display_stream_create"},
    {kMsgDisplayStreamData, "display_stream_data"},
    {kMsgDisplayStreamClip, "display_stream_clip"},
    {kMsgDisplayStreamDestroy, "display_stream_destroy"},
    {kMsgDisplayStreamDestroyAll, "display_stream_destroy_all"},
    {kMsgDisplayDrawFill, "display_draw_fill"},
    {kMsgDisplayDrawOpaque, "display_draw_opaque"},
    {kMsgDisplayDrawCopy, "display_draw_copy"},
    {kMsgDisplayDrawBlend, "display_draw_blend"},
    {kMsgDisplayDrawBlackness, "display_draw_blackness"},
    {kMsgDisplayDrawWhiteness, "display_draw_whiteness"},
    {kMsgDisplayDrawInvers, "display_draw_invers"},
    {kMsgDisplayDrawRop3, "display_draw_rop3"},
    {kMsgDisplayDrawStroke, "display_draw_stroke"},
    {kMsgDisplayDrawText, "display_draw_text"},
    {kMsgDisplayDrawTransparent, "display_draw_transparent"},
    {kMsgDisplayDrawAlphaBlend, "display_draw_alpha_blend"},
    {kMsgDisplaySurfaceCreate, "display_surface_create"},
    {kMsgDisplaySurfaceDestroy, "display_surface_destroy"},
    {kMsgDisplayStreamDataSized, "display_stream_data_sized"},
    {kMsgDisplayMonitorsConfig, "display_monitors_config"},
    {kMsgDisplayDrawComposite, "display_draw_composite"},
    {kMsgDisplayStreamActivateReport, "display_stream_activate_report"},
    {kMsgDisplayGlScanoutUnix, "display_gl_scanout_unix"},
    {kMsgDisplayGlDraw, "display_gl_draw"},
    {kMsgDisplayQualityIndicator, "display_quality_indicator"},
    {kMsgDisplayGlScanout2Unix, "display_gl_scanout2_unix"},
};
constexpr MessageEntry kDisplayClient[] = {
    {kMsgcDisplayInit, "display_init"},
    {kMsgcDisplayStreamReport, "display_stream_report"},
    {kMsgcDisplayPreferredCompression, "display_preferred_compression"},
    {kMsgcDisplayGlDrawDone, "display_gl_draw_done"},
    {kMsgcDisplayPreferredVideoCodecType, "display_preferred_video_codec_type"},
};
constexpr MessageEntry kInputsServer[] = {
    {kMsgInputsInit, "inputs_init"},
    {kMsgInputsKeyModifiers, "inputs_key_modifiers"},
    {kMsgInputsMouseMotionAck, "inputs_mouse_motion_ack"},
};
constexpr MessageEntry kInputsClient[] = {
    {kMsgcInputsKeyDown, "inputs_key_down"},
    {kMsgcInputsKeyUp, "inputs_key_up"},
    {kMsgcInputsKeyModifiers, "inputs_key_modifiers"},
    {kMsgcInputsKeyScancode, "inputs_key_scancode"},
    {kMsgcInputsMouseMotion, "inputs_mouse_motion"},
    {kMsgcInputsMousePosition, "inputs_mouse_position"},
    {kMsgcInputsMousePress, "inputs_mouse_press"},
    {kMsgcInputsMouseRelease, "inputs_mouse_release"},
};
constexpr MessageEntry kCursorServer[] = {
    {kMsgCursorInit, "cursor_init"},
    {kMsgCursorReset, "cursor_reset"},
    {kMsgCursorSet, "cursor_set"},
    {kMsgCursorMove, "cursor_move"},
    {kMsgCursorHide, "cursor_hide"},
    {kMsgCursorTrail, "cursor_trail"},
    {kMsgCursorInvalOne, "cursor_inval_one"},
    {kMsgCursorInvalAll, "cursor_inval_all"},
};
constexpr MessageEntry kPlaybackServer[] = {
    {kMsgPlaybackData, "playback_data"},
    {kMsgPlaybackMode, "playback_mode"},
    {kMsgPlaybackStart, "playback_start"},
    {kMsgPlaybackStop, "playback_stop"},
    {kMsgPlaybackVolume, "playback_volume"},
    {kMsgPlaybackMute, "playback_mute"},
    {kMsgPlaybackLatency, "playback_latency"},
};
constexpr MessageEntry kRecordServer[] = {
    {kMsgRecordStart, "record_start"},
    {kMsgRecordStop, "record_stop"},
    {kMsgRecordVolume, "record_volume"},
    {kMsgRecordMute, "record_mute"},
};
constexpr MessageEntry kRecordClient[] = {
    {kMsgcRecordData, "record_data"},
    {kMsgcRecordMode, "record_mode"},
    {kMsgcRecordStartMark, "record_start_mark"},
};
constexpr MessageEntry kSmartcardServer[] = {
    {kMsgSmartcardData, "smartcard_data"},
};
constexpr MessageEntry kSmartcardClient[] = {
    {kMsgcSmartcardData, "smartcard_data"},
};
constexpr MessageEntry kSpicevmcServer[] = {
    {kMsgSpicevmcData, "spicevmc_data"},
    {kMsgSpicevmcCompressedData, "spicevmc_compressed_data"},
};
constexpr MessageEntry kSpicevmcClient[] = {
    {kMsgcSpicevmcData, "spicevmc_data"},
    {kMsgcSpicevmcCompressedData, "spicevmc_compressed_data"},
};
constexpr MessageEntry kPortServer[] = {
    {kMsgPortInit, "port_init"},
    {kMsgPortEvent, "port_event"},
};
constexpr MessageEntry kPortClient[] = {
    {kMsgcPortEvent, "port_event"},
};

// A channel's own tables. The second one holds what port and webdav have on top
// of the first.
struct ChannelTables {
  Table server;
  Table client;
  Table more_server;
  Table more_client;
};

ChannelTables TablesOf(ChannelType channel) {
  switch (channel) {
    case ChannelType::kMain:
      return {kMainServer, kMainClient, {}, {}};
    case ChannelType::kDisplay:
      return {kDisplayServer, kDisplayClient, {}, {}};
    case ChannelType::kInputs:
      return {kInputsServer, kInputsClient, {}, {}};
    case ChannelType::kCursor:
      return {kCursorServer, {}, {}, {}};
    case ChannelType::kPlayback:
      return {kPlaybackServer, {}, {}, {}};
    case ChannelType::kRecord:
      return {kRecordServer, kRecordClient, {}, {}};
    case ChannelType::kSmartcard:
      return {kSmartcardServer, kSmartcardClient, {}, {}};
    case ChannelType::kUsbredir:
      return {kSpicevmcServer, kSpicevmcClient, {}, {}};
    case ChannelType::kPort:
    case ChannelType::kWebdav:
      return {kSpicevmcServer, kSpicevmcClient, kPortServer, kPortClient};
    case ChannelType::kTunnel:
      break;
  }
  return {};
}

// The name in `table`, or nothing.
std::string_view Find(Table table, uint16_t id) {
  for (const MessageEntry& entry : table) {
    if (entry.id == id) {
      return entry.name;
    }
  }
  return {};
}

std::string_view FindInChannel(ChannelType channel, Direction direction,
                               uint16_t id) {
  const ChannelTables tables = TablesOf(channel);
  const bool to_client = direction == Direction::kServerToClient;
  for (const Table table :
       {to_client ? Table(kCommonServer) : Table(kCommonClient),
        to_client ? tables.server : tables.client,
        to_client ? tables.more_server : tables.more_client}) {
    const std::string_view name = Find(table, id);
    if (!name.empty()) {
      return name;
    }
  }
  return {};
}

}  // namespace

std::string_view MessageName(ChannelType channel, Direction direction,
                             uint16_t id) {
  const std::string_view name = FindInChannel(channel, direction, id);
  return name.empty() ? "unknown" : name;
}

bool IsKnownMessage(ChannelType channel, Direction direction, uint16_t id) {
  return !FindInChannel(channel, direction, id).empty();
}

}  // namespace spicegate::proto
