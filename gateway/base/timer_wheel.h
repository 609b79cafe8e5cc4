// SPDX-License-Identifier: Apache-2.0
//
// Deadlines of one worker: a hierarchical timing wheel with a tick of one
// millisecond. Arming, cancelling and firing cost the same whatever the number
// of timers. Times are monotonic milliseconds.
#ifndef SPICEGATE_GATEWAY_BASE_TIMER_WHEEL_H_
#define SPICEGATE_GATEWAY_BASE_TIMER_WHEEL_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace spicegate {

class TimerWheel;

// One deadline. Embedded in the object that waits for it; neither copied nor
// moved while armed. Destroying an armed timer cancels it.
class Timer {
 public:
  using Callback = void (*)(void* owner);

  // `callback` runs on the wheel's thread with `owner`; the timer is no longer
  // armed then and may be armed again or destroyed by it.
  Timer(Callback callback, void* owner) : callback_(callback), owner_(owner) {}
  ~Timer() { Cancel(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Fires at the first TimerWheel::Advance with now_ms >= deadline_ms. Arming
  // an armed timer moves it.
  void Arm(TimerWheel* wheel, int64_t deadline_ms);

  // No effect on a timer that is not armed.
  void Cancel();

  bool armed() const { return wheel_ != nullptr; }
  int64_t deadline_ms() const { return deadline_ms_; }

 private:
  friend class TimerWheel;

  const Callback callback_;
  void* const owner_;
  TimerWheel* wheel_ = nullptr;
  Timer* previous_ = nullptr;
  Timer* next_ = nullptr;
  int64_t deadline_ms_ = 0;
  uint8_t level_ = 0;
  uint8_t slot_ = 0;
};

class TimerWheel {
 public:
  explicit TimerWheel(int64_t now_ms) : now_ms_(now_ms) {}
  ~TimerWheel();
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // Moves time forward and fires what is due, in order of deadline up to the
  // tick. A time before the last one is ignored.
  void Advance(int64_t now_ms);

  // How long a sleep may last without missing a timer; -1 without timers. May
  // be shorter than the next deadline (a cascade), never longer.
  int64_t SleepMs() const;

  size_t size() const { return size_; }
  int64_t now_ms() const { return now_ms_; }

 private:
  friend class Timer;

  static constexpr int kLevels = 5;
  static constexpr int kSlotBits = 6;
  static constexpr int kSlots = 1 << kSlotBits;

  struct Level {
    std::array<Timer*, kSlots> slots{};
    uint64_t occupied = 0;  // bit i: slots[i] is not empty
  };

  void Insert(Timer* timer);
  void Remove(Timer* timer);
  void Tick();
  void Cascade(int level);
  void FireSlot(int slot);
  // The next tick at which anything happens, or -1.
  int64_t NextEventMs() const;

  std::array<Level, kLevels> levels_{};
  int64_t now_ms_;
  size_t size_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_TIMER_WHEEL_H_
