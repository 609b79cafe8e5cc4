// SPDX-License-Identifier: Apache-2.0
#include "gateway/qmp/qmp_protocol.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "gateway/base/log.h"

namespace spicegate {
namespace {

// "65535", or with a unix socket what may be its path.
constexpr size_t kMaxPortLen = 5;
constexpr size_t kMaxFamilyLen = 16;
constexpr size_t kMaxAuthLen = 16;
constexpr size_t kMaxEventNameLen = 128;

std::string Shortened(const std::string& text) {
  if (text.size() <= kMaxQmpErrorLen) {
    return text;
  }
  // Never in the middle of a character.
  size_t len = kMaxQmpErrorLen;
  while (len > 0 && (static_cast<uint8_t>(text[len]) & 0xc0) == 0x80) {
    --len;
  }
  return text.substr(0, len);
}

absl::Status Malformed(const std::string& what) {
  return absl::InvalidArgumentError("QMP: " + what);
}

// Reads members of one object. The first that is not as it is to be is the
// error; from then on nothing more is read.
class Members {
 public:
  Members(const JsonValue* object, absl::Status* status)
      : object_(object), status_(status) {
    if (status_->ok() &&
        (object_ == nullptr || object_->type() != JsonValue::Type::kObject)) {
      *status_ = Malformed("an object was expected");
    }
  }

  // Null when absent, or after an error.
  const JsonValue* Find(const char* key) const {
    return status_->ok() ? object_->Find(key) : nullptr;
  }

  // The member must be there.
  const JsonValue* Need(const char* key, JsonValue::Type type) {
    const JsonValue* const value = Find(key);
    if (status_->ok() && (value == nullptr || value->type() != type)) {
      Fail(key);
      return nullptr;
    }
    return value;
  }

  // The member may be absent, but must be of this type otherwise.
  const JsonValue* May(const char* key, JsonValue::Type type) {
    return Find(key) == nullptr ? nullptr : Need(key, type);
  }

  std::string Text(const char* key, size_t max_len) {
    const JsonValue* const value = Need(key, JsonValue::Type::kString);
    if (value == nullptr) {
      return "";
    }
    if (value->AsString().size() > max_len) {
      Fail(key);
      return "";
    }
    return value->AsString();
  }

  bool Bool(const char* key) {
    const JsonValue* const value = Need(key, JsonValue::Type::kBool);
    return value != nullptr && value->AsBool();
  }

  int64_t Int(const char* key, int64_t min, int64_t max) {
    const JsonValue* const value = Need(key, JsonValue::Type::kInt);
    if (value == nullptr) {
      return min;
    }
    if (value->AsInt() < min || value->AsInt() > max) {
      Fail(key);
      return min;
    }
    return value->AsInt();
  }

  // 0 when the member is absent.
  uint16_t Port(const char* key) {
    return Find(key) == nullptr ? 0 : static_cast<uint16_t>(Int(key, 1, 65535));
  }

  void Fail(const char* key) {
    if (status_->ok()) {
      *status_ = Malformed(std::string("no good \"") + key + "\"");
    }
  }

  absl::Status* status() { return status_; }

 private:
  const JsonValue* const object_;
  absl::Status* const status_;
};

bool IsTcp(QmpAddress::Family family) {
  return family == QmpAddress::Family::kIpv4 ||
         family == QmpAddress::Family::kIpv6;
}

QmpAddress::Family FamilyOf(const std::string& name) {
  if (name == "ipv4") {
    return QmpAddress::Family::kIpv4;
  }
  if (name == "ipv6") {
    return QmpAddress::Family::kIpv6;
  }
  return name == "unix" ? QmpAddress::Family::kUnix
                        : QmpAddress::Family::kOther;
}

bool IsDecimal(const std::string& text) {
  return !text.empty() && text.size() <= kMaxPortLen &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return c >= '0' && c <= '9'; });
}

QmpAddress ReadAddress(Members& members) {
  QmpAddress address;
  address.family = FamilyOf(members.Text("family", kMaxFamilyLen));
  address.host = members.Text("host", kMaxQmpHostLen);
  address.port = members.Text("port", kMaxQmpHostLen);
  if (IsTcp(address.family) && !IsDecimal(address.port)) {
    members.Fail("port");
  } else if (address.family == QmpAddress::Family::kUnix) {
    address.port.clear();  // the path once more, for the server's own end
  }
  return address;
}

QmpChannel ReadChannel(Members& members) {
  constexpr int64_t kMinId = std::numeric_limits<int32_t>::min();
  constexpr int64_t kMaxId = std::numeric_limits<uint32_t>::max();
  QmpChannel channel;
  channel.peer = ReadAddress(members);
  // 8 bits on the wire, but QEMU's own type is wider.
  channel.channel_type =
      static_cast<int>(members.Int("channel-type", 0, 65535));
  channel.channel_id = static_cast<int>(members.Int("channel-id", 0, 65535));
  // QEMU writes it as if it had a sign.
  channel.connection_id =
      static_cast<uint32_t>(members.Int("connection-id", kMinId, kMaxId));
  channel.tls = members.Bool("tls");
  return channel;
}

std::string ShortText(Members& members, const char* key) {
  return Shortened(members.Text(key, kMaxQmpLineBytes));
}

QmpEvent::Kind KindOf(const std::string& name) {
  if (name == "SPICE_CONNECTED") {
    return QmpEvent::Kind::kConnected;
  }
  if (name == "SPICE_INITIALIZED") {
    return QmpEvent::Kind::kInitialized;
  }
  if (name == "SPICE_DISCONNECTED") {
    return QmpEvent::Kind::kDisconnected;
  }
  return name == "SPICE_MIGRATE_COMPLETED" ? QmpEvent::Kind::kMigrateCompleted
                                           : QmpEvent::Kind::kOther;
}

QmpEvent ReadEvent(Members& root) {
  QmpEvent event;
  event.kind = KindOf(root.Text("event", kMaxEventNameLen));
  if (event.kind == QmpEvent::Kind::kOther ||
      event.kind == QmpEvent::Kind::kMigrateCompleted) {
    return event;
  }
  Members data(root.Need("data", JsonValue::Type::kObject), root.status());
  Members server(data.Need("server", JsonValue::Type::kObject), root.status());
  Members client(data.Need("client", JsonValue::Type::kObject), root.status());
  event.server = ReadAddress(server);
  event.client = ReadAddress(client);
  if (event.kind == QmpEvent::Kind::kInitialized) {
    event.channel = ReadChannel(client);
  }
  return event;
}

void ReadReply(Members& root, QmpMessage* message) {
  if (root.May("id", JsonValue::Type::kInt) != nullptr) {
    message->id = root.Int("id", 0, std::numeric_limits<int64_t>::max());
  }
  if (const JsonValue* const result = root.Find("return")) {
    message->type = QmpMessage::Type::kReturn;
    message->result = *result;
    return;
  }
  message->type = QmpMessage::Type::kError;
  Members error(root.Need("error", JsonValue::Type::kObject), root.status());
  message->error.error_class = ShortText(error, "class");
  message->error.desc = ShortText(error, "desc");
}

// At least as many values as `line` has: each but the first stands behind one
// of these. Marks inside strings count too, which does no harm.
size_t MaxValuesIn(const std::string& line) {
  return 1 + static_cast<size_t>(std::count_if(
                 line.begin(), line.end(),
                 [](char c) { return c == ',' || c == '[' || c == '{'; }));
}

}  // namespace

QmpCommand QmpCapabilitiesCommand() { return {"qmp_capabilities", ""}; }

QmpCommand QuerySpiceCommand() { return {"query-spice", ""}; }

QmpCommand SetPasswordCommand(std::string_view password,
                              QmpConnected connected) {
  std::string arguments = R"({"protocol":"spice","password":)";
  AppendJsonString(password, &arguments);
  arguments += R"(,"connected":)";
  AppendJsonString(
      connected == QmpConnected::kDisconnect ? "disconnect" : "keep",
      &arguments);
  return {"set_password", arguments + "}"};
}

QmpCommand ExpirePasswordCommand(std::string_view time) {
  std::string arguments = R"({"protocol":"spice","time":)";
  AppendJsonString(time, &arguments);
  return {"expire_password", arguments + "}"};
}

std::string EncodeQmpCommand(const QmpCommand& command, int64_t id) {
  std::string line = R"({"execute":)";
  AppendJsonString(command.name, &line);
  if (!command.arguments.empty()) {
    line += R"(,"arguments":)" + command.arguments;
  }
  return line + R"(,"id":)" + std::to_string(id) + "}\r\n";
}

absl::StatusOr<QmpMessage> ParseQmpLine(const std::string& line) {
  if (line.size() > kMaxQmpLineBytes) {
    return Malformed("a line is too long");
  }
  if (MaxValuesIn(line) > kMaxQmpValues) {
    return Malformed("a line holds too many values");
  }
  const absl::StatusOr<JsonValue> json = ParseJson(line);
  if (!json.ok()) {
    return Malformed(Shortened(std::string(json.status().message())));
  }
  absl::Status status;
  Members root(&*json, &status);
  QmpMessage message;
  if (root.Find("event") != nullptr) {
    message.type = QmpMessage::Type::kEvent;
    message.event = ReadEvent(root);
  } else if (root.Find("QMP") != nullptr) {
    message.type = QmpMessage::Type::kGreeting;
    root.Need("QMP", JsonValue::Type::kObject);
  } else {
    ReadReply(root, &message);
  }
  return status.ok() ? absl::StatusOr<QmpMessage>(std::move(message)) : status;
}

absl::StatusOr<QmpSpice> ParseQuerySpice(const JsonValue& result) {
  absl::Status status;
  Members root(&result, &status);
  QmpSpice spice;
  spice.enabled = root.Bool("enabled");
  if (!spice.enabled) {
    return status.ok() ? absl::StatusOr<QmpSpice>(spice) : status;
  }
  spice.migrated = root.Bool("migrated");
  spice.auth = root.Text("auth", kMaxAuthLen);
  spice.host = root.Text("host", kMaxQmpHostLen);
  spice.port = root.Port("port");
  spice.tls_port = root.Port("tls-port");
  // A path that is not absolute counts from a directory of QEMU's.
  if (spice.port == 0 && spice.tls_port == 0 && spice.host.starts_with('/')) {
    spice.unix_path = std::exchange(spice.host, "");
  }
  const JsonValue* const channels =
      root.May("channels", JsonValue::Type::kArray);
  if (channels != nullptr && channels->Items().size() > kMaxQmpChannels) {
    root.Fail("channels");
  } else if (channels != nullptr) {
    for (const JsonValue& item : channels->Items()) {
      Members members(&item, &status);
      spice.channels.push_back(ReadChannel(members));
    }
  }
  return status.ok() ? absl::StatusOr<QmpSpice>(std::move(spice)) : status;
}

}  // namespace spicegate
