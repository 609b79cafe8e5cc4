// SPDX-License-Identifier: Apache-2.0
#include "gateway/server_link/destination.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "gateway/tls/self_signed.h"

namespace spicegate {
namespace {

constexpr int64_t kNowUnixS = 1'800'000'000;

Console SourceConsole() {
  Console console;
  console.name = "vm";
  console.title = "A desktop";
  console.host = "hv1.example.org";
  console.port = 5900;
  console.ticket = "at the source";
  console.policy_name = "kiosk";
  console.policy.read_only = true;
  console.guard = GuardMode::kCount;
  return console;
}

ConsoleTarget PlainSource(const Console& console = SourceConsole()) {
  ConsoleTarget source;
  source.console = std::make_shared<const Console>(console);
  return source;
}

ConsoleTarget VerifiedSource() {
  Console console = SourceConsole();
  console.tls_port = 5901;
  console.ca_pem = MakeSelfSigned({"ca"}, kNowUnixS)->certificate_pem;
  console.host_subject = "CN=hv1";
  ConsoleTarget source = PlainSource(console);
  const auto tls = ClientTlsContext::Create(console.ca_pem,
                                            console.host_subject, console.host);
  EXPECT_TRUE(tls.ok()) << tls.status();
  source.tls = *tls;
  return source;
}

proto::DstInfo To(uint16_t port, uint16_t sport,
                  std::string_view subject = {}) {
  proto::DstInfo to;
  to.host = "hv2.example.org";
  to.port = port;
  to.sport = sport;
  to.cert_subject = subject;
  return to;
}

TEST(DestinationTest, APlainSourceGoesOnInPlain) {
  const auto target = DestinationOf(PlainSource(), To(5910, 5911, "CN=hv2"));
  ASSERT_TRUE(target.has_value());
  EXPECT_EQ(target->tls, nullptr);
  EXPECT_EQ(target->console->host, "hv2.example.org");
  EXPECT_EQ(target->console->port, 5910);
  EXPECT_EQ(target->console->tls_port, 0);
  EXPECT_EQ(PlaceOf(*target), "hv2.example.org:5910");
}

TEST(DestinationTest, WhatTheConsoleIsStaysAsItWas) {
  const auto target = DestinationOf(PlainSource(), To(5910, 0));
  ASSERT_TRUE(target.has_value());
  const Console& console = *target->console;
  EXPECT_EQ(console.name, "vm");
  EXPECT_EQ(console.title, "A desktop");
  EXPECT_EQ(console.ticket, "at the source");
  EXPECT_EQ(console.guard, GuardMode::kCount);
  EXPECT_TRUE(console.policy.read_only);
}

TEST(DestinationTest, ItsOwnTicketIsGivenThere) {
  Console console = SourceConsole();
  console.destination_ticket = "there";
  const auto target = DestinationOf(PlainSource(console), To(5910, 0));
  ASSERT_TRUE(target.has_value());
  EXPECT_EQ(target->console->ticket, "there");
  // An empty one is one.
  console.destination_ticket = "";
  EXPECT_EQ(DestinationOf(PlainSource(console), To(5910, 0))->console->ticket,
            "");
}

TEST(DestinationTest, AUnixSocketIsNoPlaceElsewhere) {
  Console console = SourceConsole();
  console.host.clear();
  console.port = 0;
  console.unix_path = "/run/vm.sock";
  EXPECT_EQ(PlaceOf(PlainSource(console)), "/run/vm.sock");
  const auto target = DestinationOf(PlainSource(console), To(5910, 0));
  ASSERT_TRUE(target.has_value());
  EXPECT_EQ(target->console->unix_path, "");
  EXPECT_EQ(PlaceOf(*target), "hv2.example.org:5910");
}

TEST(DestinationTest, AVerifiedSourceIsNotLeftForAnythingLess) {
  EXPECT_FALSE(DestinationOf(VerifiedSource(), To(5910, 0)).has_value());
  const auto target = DestinationOf(VerifiedSource(), To(5910, 5911));
  ASSERT_TRUE(target.has_value());
  ASSERT_NE(target->tls, nullptr);
  EXPECT_EQ(target->console->tls_port, 5911);
  EXPECT_EQ(PlaceOf(*target), "hv2.example.org:5911");
}

TEST(DestinationTest, ItIsVerifiedByItsOwnNameOrSubject) {
  const ConsoleTarget source = VerifiedSource();
  const auto by_name = DestinationOf(source, To(0, 5911));
  ASSERT_TRUE(by_name.has_value());
  EXPECT_NE(by_name->tls, source.tls);
  EXPECT_EQ(by_name->tls->server_name(), "hv2.example.org");
  // The source's subject is none of the destination's.
  EXPECT_EQ(by_name->console->host_subject, "");
  const auto by_subject = DestinationOf(source, To(0, 5911, "O=Lab,CN=hv2"));
  ASSERT_TRUE(by_subject.has_value());
  EXPECT_EQ(by_subject->console->host_subject, "O=Lab,CN=hv2");
}

TEST(DestinationTest, WithoutItsPortOrWithAFalseSubjectThereIsNone) {
  EXPECT_FALSE(DestinationOf(PlainSource(), To(0, 5911)).has_value());
  EXPECT_FALSE(DestinationOf(VerifiedSource(), To(5910, 5911, "no subject"))
                   .has_value());
}

TEST(DestinationTest, AddressesOfIpv6AreBracketed) {
  proto::DstInfo to = To(5910, 0);
  to.host = "fd00::1";
  const auto target = DestinationOf(PlainSource(), to);
  ASSERT_TRUE(target.has_value());
  EXPECT_EQ(target->console->host, "fd00::1");
  EXPECT_EQ(PlaceOf(*target), "[fd00::1]:5910");
}

}  // namespace
}  // namespace spicegate
