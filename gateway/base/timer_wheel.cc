// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/timer_wheel.h"

#include <algorithm>
#include <bit>

#include "gateway/base/check.h"

namespace spicegate {

void Timer::Arm(TimerWheel* wheel, int64_t deadline_ms) {
  Cancel();
  deadline_ms_ = deadline_ms;
  wheel_ = wheel;
  wheel->Insert(this);
}

void Timer::Cancel() {
  if (wheel_ != nullptr) {
    wheel_->Remove(this);
  }
}

TimerWheel::~TimerWheel() { CHECK(size_ == 0); }

void TimerWheel::Insert(Timer* timer) {
  // A deadline that has passed fires at the next tick: never inside Arm, so
  // that a caller is not called back before it has finished.
  const int64_t deadline_ms = std::max(timer->deadline_ms_, now_ms_ + 1);
  const int64_t horizon = int64_t{1} << (kSlotBits * kLevels);
  // Beyond the horizon a timer waits in the last slot and is placed again.
  const int64_t at_ms = std::min(deadline_ms, now_ms_ + horizon - 1);
  const uint64_t differs = static_cast<uint64_t>(at_ms ^ now_ms_);
  const int top_bit = 63 - std::countl_zero(differs);
  const int level = std::min(top_bit / kSlotBits, kLevels - 1);
  const int slot = (at_ms >> (level * kSlotBits)) & (kSlots - 1);

  Level& home = levels_[level];
  timer->level_ = static_cast<uint8_t>(level);
  timer->slot_ = static_cast<uint8_t>(slot);
  timer->previous_ = nullptr;
  timer->next_ = home.slots[slot];
  if (timer->next_ != nullptr) {
    timer->next_->previous_ = timer;
  }
  home.slots[slot] = timer;
  home.occupied |= uint64_t{1} << slot;
  ++size_;
}

void TimerWheel::Remove(Timer* timer) {
  DCHECK(timer->wheel_ == this);
  Level& home = levels_[timer->level_];
  if (timer->previous_ != nullptr) {
    timer->previous_->next_ = timer->next_;
  } else {
    home.slots[timer->slot_] = timer->next_;
  }
  if (timer->next_ != nullptr) {
    timer->next_->previous_ = timer->previous_;
  }
  if (home.slots[timer->slot_] == nullptr) {
    home.occupied &= ~(uint64_t{1} << timer->slot_);
  }
  timer->wheel_ = nullptr;
  timer->next_ = nullptr;
  timer->previous_ = nullptr;
  --size_;
}

int64_t TimerWheel::NextEventMs() const {
  int64_t next_ms = -1;
  for (int level = 0; level < kLevels; ++level) {
    const int shift = level * kSlotBits;
    const int current = (now_ms_ >> shift) & (kSlots - 1);
    const uint64_t occupied = levels_[level].occupied;
    if (occupied == 0) {
      continue;
    }
    // Slots after the current one, in the order in which they come up; the
    // current slot itself is a whole turn away.
    const uint64_t rotated = std::rotr(occupied, (current + 1) % kSlots);
    const int distance = std::countr_zero(rotated) + 1;
    const int64_t at_ms = ((now_ms_ >> shift) + distance) << shift;
    next_ms = next_ms < 0 ? at_ms : std::min(next_ms, at_ms);
  }
  return next_ms;
}

int64_t TimerWheel::SleepMs() const {
  const int64_t next_ms = NextEventMs();
  return next_ms < 0 ? -1 : next_ms - now_ms_;
}

void TimerWheel::Advance(int64_t now_ms) {
  while (now_ms_ < now_ms) {
    const int64_t next_ms = NextEventMs();
    if (next_ms < 0 || next_ms > now_ms) {
      now_ms_ = now_ms;
      return;
    }
    now_ms_ = next_ms;
    Tick();
  }
}

void TimerWheel::Tick() {
  // Higher levels first: what cascades down may be due in this very tick.
  for (int level = kLevels - 1; level > 0; --level) {
    const int64_t mask = (int64_t{1} << (level * kSlotBits)) - 1;
    if ((now_ms_ & mask) == 0) {
      Cascade(level);
    }
  }
  FireSlot(static_cast<int>(now_ms_ & (kSlots - 1)));
}

void TimerWheel::Cascade(int level) {
  const int slot = (now_ms_ >> (level * kSlotBits)) & (kSlots - 1);
  Timer* timer = levels_[level].slots[slot];
  levels_[level].slots[slot] = nullptr;
  levels_[level].occupied &= ~(uint64_t{1} << slot);
  while (timer != nullptr) {
    Timer* next = timer->next_;
    --size_;
    if (timer->deadline_ms_ <= now_ms_) {
      // Due now: into the slot that fires in this tick.
      Level& lowest = levels_[0];
      const int due = static_cast<int>(now_ms_ & (kSlots - 1));
      timer->level_ = 0;
      timer->slot_ = static_cast<uint8_t>(due);
      timer->previous_ = nullptr;
      timer->next_ = lowest.slots[due];
      if (timer->next_ != nullptr) {
        timer->next_->previous_ = timer;
      }
      lowest.slots[due] = timer;
      lowest.occupied |= uint64_t{1} << due;
      ++size_;
    } else {
      Insert(timer);
    }
    timer = next;
  }
}

void TimerWheel::FireSlot(int slot) {
  // One at a time from the head: a callback may cancel any other timer.
  while (Timer* timer = levels_[0].slots[slot]) {
    if (timer->deadline_ms_ > now_ms_) {
      break;  // armed by a callback for a later turn of the wheel
    }
    Remove(timer);
    timer->callback_(timer->owner_);
  }
}

}  // namespace spicegate
