// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <memory>

namespace spicegate {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) {
    ++count;
  }
  return count;
}

ProcessValues Values() {
  ProcessValues values;
  values.version = "0.1.0";
  values.tickets_issued = 3;
  values.tickets_live = 2;
  values.consoles = 4;
  values.console_reloads = 5;
  values.console_reload_failures = 6;
  values.log_lines_dropped = 7;
  values.certificates.expiry_unix_s = 1'800'000'000;
  values.certificates.reloads = 11;
  values.certificates.reload_failures = 12;
  values.certificates.refused = true;
  values.certificates.ticket_key_reloads = 13;
  values.certificates.ticket_key_reload_failures = 14;
  values.qmp = {21, 22, 23, 24, 25, 26, 27, 28};
  values.portal = {true, {{{"file", 200}, 31}}, 32, 33};
  values.clouds = {{.cloud = "prod"},
                   {.cloud = "broker", .kind = CloudKind::kHttp}};
  values.io_features = {{"defer_taskrun", true}, {"send_zc", false}};
  values.process = ReadProcessStats();
  return values;
}

class MetricsTest : public ::testing::Test {
 protected:
  std::string Text() const {
    return MetricsText({&workers_[0], &workers_[1]}, Values());
  }

  // On the heap: 2 kB of counters each.
  const std::unique_ptr<WorkerCounters[]> workers_ =
      std::make_unique<WorkerCounters[]>(2);
};

TEST_F(MetricsTest, AddsUpTheWorkers) {
  workers_[0].links_accepted.Add(2);
  workers_[1].links_accepted.Add(3);
  workers_[0].bytes_client_to_server[2].Add(10);
  workers_[1].bytes_server_to_client[2].Add(5'000'000'000'000);
  workers_[1].channels_open[11].Add(1);
  workers_[0].channels_closed[static_cast<size_t>(CloseReason::kReplaced)].Add(
      4);
  workers_[0].tls_connections[1][1][2][3].Add(9);
  workers_[1].tls_handshakes[0][1].Add(6);
  workers_[0].tls_truncated[1].Add(8);
  workers_[0].display_safe_end[3].Add(1);
  const std::string text = Text();
  EXPECT_THAT(text, HasSubstr("\nspicegate_links_accepted_total 5\n"));
  EXPECT_THAT(text, HasSubstr("spicegate_channel_bytes_total{channel="
                              "\"display\",direction=\"client_to_server\"} "
                              "10\n"));
  EXPECT_THAT(text, HasSubstr("spicegate_channel_bytes_total{channel="
                              "\"display\",direction=\"server_to_client\"} "
                              "5000000000000\n"));
  EXPECT_THAT(text, HasSubstr("spicegate_channels_open{channel=\"webdav\"} "
                              "1\n"));
  EXPECT_THAT(text,
              HasSubstr("spicegate_channels_closed_total{reason=\"replaced\"} "
                        "4\n"));
  EXPECT_THAT(text, HasSubstr("spicegate_tls_connections_total{leg=\"server\","
                              "version=\"1.3\",cipher=\"chacha20_poly1305\","
                              "offload=\"both\"} 9\n"));
  EXPECT_THAT(text, HasSubstr("spicegate_tls_handshakes_total{leg=\"client\","
                              "outcome=\"resumed\"} 6\n"));
  EXPECT_THAT(text,
              HasSubstr("spicegate_tls_truncated_total{leg=\"server\"} 8\n"));
  EXPECT_THAT(text, HasSubstr("spicegate_display_safe_end_total{outcome="
                              "\"timed_out\"} 1\n"));
}

TEST_F(MetricsTest, ShowsWhatSessionsWereKeptFrom) {
  const auto rule = [](GuardRule rule) { return static_cast<size_t>(rule); };
  workers_[0].guard_refusals[1][rule(GuardRule::kFlushMark)].Add(1);
  workers_[1].guard_refusals[1][rule(GuardRule::kFlushMark)].Add(2);
  workers_[0].guard_refusals[2][rule(GuardRule::kDisplayInit)].Add(4);
  workers_[0].guard_refusals[9][rule(GuardRule::kConnectionId)].Add(5);
  workers_[1].policy_drops[static_cast<size_t>(PolicyDrop::kChannel)].Add(6);
  const std::string text = Text();
  EXPECT_THAT(text, HasSubstr("spicegate_guard_refusals_total{channel=\"main\","
                              "rule=\"flush_mark\"} 3\n"));
  EXPECT_THAT(text,
              HasSubstr("spicegate_guard_refusals_total{channel=\"display\","
                        "rule=\"display_init\"} 4\n"));
  EXPECT_THAT(text,
              HasSubstr("spicegate_guard_refusals_total{channel=\"usbredir\","
                        "rule=\"connection_id\"} 5\n"));
  EXPECT_THAT(text, HasSubstr("spicegate_policy_drops_total{policy=\"channel\"}"
                              " 6\n"));
  EXPECT_EQ(Count(text, "\nspicegate_guard_refusals_total{"),
            10 * kNumGuardRules);
  EXPECT_EQ(Count(text, "\nspicegate_policy_drops_total{"), kNumPolicyDrops);
}

TEST_F(MetricsTest, ShowsHowConnectionsBegan) {
  const auto answer = [](ConnectStatus status) {
    return static_cast<size_t>(status);
  };
  workers_[0].connect_answers[answer(ConnectStatus::kOk)].Add(1);
  workers_[1].connect_answers[answer(ConnectStatus::kOk)].Add(2);
  workers_[1].connect_answers[answer(ConnectStatus::kVersion)].Add(4);
  workers_[0].proxy_headers[2].Add(5);
  const std::string text = Text();
  const std::string answers = "\nspicegate_connect_answers_total{code=\"";
  EXPECT_THAT(text, HasSubstr(answers + "200\"} 3\n"));
  EXPECT_THAT(text, HasSubstr(answers + "505\"} 4\n"));
  for (const char* code :
       {"400", "403", "407", "431", "500", "501", "502", "503", "504"}) {
    EXPECT_THAT(text, HasSubstr(answers + code + "\"} 0\n"));
  }
  EXPECT_EQ(Count(text, answers), kNumConnectStatuses);
  const std::string headers = "\nspicegate_proxy_headers_total{outcome=\"";
  EXPECT_THAT(text, HasSubstr(headers + "local\"} 5\n"));
  for (const char* outcome : {"v1", "v2", "refused"}) {
    EXPECT_THAT(text, HasSubstr(headers + outcome + "\"} 0\n"));
  }
  EXPECT_EQ(Count(text, headers), kNumProxyHeaderOutcomes);
}

TEST_F(MetricsTest, ATunnelIsAChannel) {
  workers_[0].channels_opened[7].Add(3);
  workers_[1].channels_open[7].Add(2);
  workers_[1].bytes_server_to_client[7].Add(9);
  const std::string text = Text();
  EXPECT_THAT(
      text,
      HasSubstr("\nspicegate_channels_opened_total{channel=\"tunnel\"} 3\n"));
  EXPECT_THAT(text,
              HasSubstr("\nspicegate_channels_open{channel=\"tunnel\"} 2\n"));
  EXPECT_THAT(text,
              HasSubstr("\nspicegate_channel_bytes_total{channel=\"tunnel\","
                        "direction=\"server_to_client\"} 9\n"));
  // There is no such channel to open: nobody looks inside.
  EXPECT_EQ(Count(text, "refusals_total{channel=\"tunnel\""), 0U);
}

TEST_F(MetricsTest, ShowsWhatQmpDid) {
  const std::string text = Text();
  const std::string commands = "\nspicegate_qmp_commands_total{result=\"";
  EXPECT_THAT(text, HasSubstr(commands + "ok\"} 21\n"));
  EXPECT_THAT(text, HasSubstr(commands + "error\"} 22\n"));
  EXPECT_THAT(text, HasSubstr(commands + "timeout\"} 23\n"));
  EXPECT_THAT(text, HasSubstr(commands + "gone\"} 24\n"));
  EXPECT_THAT(text, HasSubstr(commands + "rejected\"} 25\n"));
  EXPECT_THAT(text, HasSubstr("\nspicegate_qmp_foreign_channels_total 26\n"));
  EXPECT_THAT(text, HasSubstr("\nspicegate_qmp_consoles 27\n"));
  EXPECT_THAT(text, HasSubstr("\nspicegate_qmp_breakers_open 28\n"));
}

TEST_F(MetricsTest, NamesEveryRuleAndDrop) {
  const std::string text = Text();
  for (const char* rule :
       {"message_type", "message_size", "claimed_size", "sub_list",
        "flush_mark", "migrate_data", "do_seamless", "migrate_end",
        "display_init", "before_handover", "connection_id", "usb_packet"}) {
    EXPECT_THAT(text, HasSubstr("{channel=\"inputs\",rule=\"" +
                                std::string(rule) + "\"} 0\n"));
  }
  for (const char* drop :
       {"read_only", "clipboard", "file_transfer", "channel"}) {
    EXPECT_THAT(text, HasSubstr("{policy=\"" + std::string(drop) + "\"} 0\n"));
  }
}

TEST_F(MetricsTest, ShowsMigrations) {
  const auto count = [this](int worker, MigrationKind kind,
                            MigrationResult result, int64_t num) {
    workers_[static_cast<size_t>(worker)]
        .migrations[static_cast<size_t>(kind)][static_cast<size_t>(result)]
        .Add(num);
  };
  count(0, MigrationKind::kSeamless, MigrationResult::kCompleted, 1);
  count(1, MigrationKind::kSeamless, MigrationResult::kCompleted, 2);
  count(0, MigrationKind::kSemiSeamless, MigrationResult::kFailed, 4);
  count(0, MigrationKind::kSwitchHost, MigrationResult::kCancelled, 5);
  workers_[0].migrations_pending.Set(1);
  workers_[1].migrations_pending.Set(6);
  const std::string text = Text();
  EXPECT_THAT(text, HasSubstr("spicegate_migrations_total{kind=\"seamless\","
                              "result=\"completed\"} 3\n"));
  EXPECT_THAT(text,
              HasSubstr("spicegate_migrations_total{kind=\"semi_seamless\","
                        "result=\"failed\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("spicegate_migrations_total{kind=\"switch_host\","
                              "result=\"cancelled\"} 5\n"));
  EXPECT_EQ(Count(text, "\nspicegate_migrations_total{"), 9U);
  EXPECT_THAT(text, HasSubstr("\nspicegate_migrations_pending 7\n"));
}

TEST_F(MetricsTest, ShowsMigrationsDurations) {
  workers_[0].migration_durations[0].Add(1);  // up to 0.1 s
  workers_[1].migration_durations[2].Add(3);  // up to 1 s
  workers_[0].migration_durations[kMigrationBucketsMs.size()].Add(1);
  workers_[0].migration_duration_ms.Add(2'000'050);
  workers_[1].migration_duration_ms.Add(2'450);
  const std::string name = "\nspicegate_migration_duration_seconds";
  const std::string text = Text();
  EXPECT_THAT(text, HasSubstr(name + "_bucket{le=\"0.1\"} 1\n"));
  EXPECT_THAT(text, HasSubstr(name + "_bucket{le=\"0.3\"} 1\n"));
  EXPECT_THAT(text, HasSubstr(name + "_bucket{le=\"1\"} 4\n"));
  EXPECT_THAT(text, HasSubstr(name + "_bucket{le=\"1000\"} 4\n"));
  EXPECT_THAT(text, HasSubstr(name + "_bucket{le=\"+Inf\"} 5\n"));
  EXPECT_THAT(text, HasSubstr(name + "_count 5\n"));
  EXPECT_THAT(text, HasSubstr(name + "_sum 2002.5\n"));
  EXPECT_EQ(Count(text, name + "_bucket{"), kMigrationBucketsMs.size() + 1);
}

TEST_F(MetricsTest, SeriesExistBeforeTheirFirstEvent) {
  const std::string text = Text();
  for (const char* channel :
       {"main", "display", "inputs", "cursor", "playback", "record",
        "smartcard", "usbredir", "port", "webdav"}) {
    EXPECT_THAT(text, HasSubstr("spicegate_channels_opened_total{channel=\"" +
                                std::string(channel) + "\"} 0\n"));
  }
  EXPECT_EQ(Count(text, "\nspicegate_channels_opened_total{"), 11U);
  EXPECT_EQ(Count(text, "\nspicegate_channel_bytes_total{"), 22U);
  EXPECT_EQ(Count(text, "\nspicegate_links_refused_total{"), kNumCloseReasons);
  EXPECT_EQ(Count(text, "\nspicegate_channels_closed_total{"),
            kNumCloseReasons);
  EXPECT_THAT(text, HasSubstr("{reason=\"bad_ticket\"} 0\n"));
}

TEST_F(MetricsTest, ShowsTheProcess) {
  const std::string text = Text();
  EXPECT_THAT(text, HasSubstr("\nspicegate_tickets_issued_total 3\n"));
  EXPECT_THAT(text, HasSubstr("\nspicegate_consoles 4\n"));
  EXPECT_THAT(text,
              HasSubstr("\nspicegate_consoles_reload_failures_total 6\n"));
  EXPECT_THAT(text, HasSubstr("\nspicegate_log_lines_dropped_total 7\n"));
  EXPECT_THAT(text, HasSubstr("\nspicegate_build_info{version=\"0.1.0\"} 1\n"));
  EXPECT_THAT(text,
              HasSubstr("\nspicegate_io_feature{feature=\"defer_taskrun\"} 1"));
  EXPECT_THAT(text, HasSubstr("\nspicegate_io_feature{feature=\"send_zc\"} 0"));
  EXPECT_THAT(text, HasSubstr("_expiry_timestamp_seconds 1800000000\n"));
}

TEST_F(MetricsTest, ShowsTheCertificates) {
  const std::string text = Text();
  for (const char* line :
       {"certificate_reloads_total 11", "certificate_reload_failures_total 12",
        "certificate_refused 1", "ticket_key_reloads_total 13",
        "ticket_key_reload_failures_total 14", "ticket_keys_refused 0"}) {
    EXPECT_THAT(text, HasSubstr("\nspicegate_tls_" + std::string(line) + "\n"));
  }
}

TEST_F(MetricsTest, LeavesOutWhatIsUnknown) {
  const std::string text = MetricsText({}, ProcessValues());
  EXPECT_THAT(text, Not(HasSubstr("process_")));
  EXPECT_THAT(text, Not(HasSubstr("_certificate_")));
  EXPECT_THAT(text, HasSubstr("\nspicegate_workers 0\n"));
}

TEST_F(MetricsTest, PromtoolHasNoComplaints) {
  if (std::system("command -v promtool >/dev/null") != 0) {
    // Where everything must be installed, a test that skips is a failure.
    ASSERT_EQ(std::getenv("SPICEGATE_CI"), nullptr) << "promtool is missing";
    GTEST_SKIP() << "promtool is missing: apt-get install prometheus";
  }
  const std::string path = ::testing::TempDir() + "/metrics.txt";
  std::ofstream(path) << Text();
  const std::string command = "promtool check metrics < '" + path + "' 2>&1";
  std::FILE* pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string output;
  for (int c = 0; (c = std::fgetc(pipe)) != EOF;) {
    output += static_cast<char>(c);
  }
  EXPECT_EQ(pclose(pipe), 0);
  EXPECT_EQ(output, "");
}

TEST(ProcessStats, AreThoseOfThisProcess) {
  const ProcessStats before = ReadProcessStats();
  EXPECT_GT(before.resident_memory_bytes, 1'000'000);
  EXPECT_GE(before.virtual_memory_bytes, before.resident_memory_bytes);
  EXPECT_GT(before.max_fds, before.open_fds);
  EXPECT_GE(before.cpu_seconds, 0);
  const double now = static_cast<double>(std::time(nullptr));
  EXPECT_GT(before.start_time_seconds, now - 86'400);
  EXPECT_LT(before.start_time_seconds, now + 60);
  const int fd = dup(0);
  EXPECT_EQ(ReadProcessStats().open_fds, before.open_fds + 1);
  close(fd);
  EXPECT_EQ(ReadProcessStats().start_time_seconds, before.start_time_seconds);
}

}  // namespace
}  // namespace spicegate
