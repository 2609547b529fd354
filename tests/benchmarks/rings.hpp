// rings.hpp - rings in which nothing is safe: the limits that transports are measured against. Their form: transports.hpp.
#pragma once
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <holdfast/slot_protocol.hpp>

#include "place.hpp"
#include "shared_page.hpp"
#include "transfer_page.hpp"

namespace holdfast::benchmarks {
using holdfast::detail::pause_briefly;

/// One end of a ring. It has a copy of what the other end's index was.
template <class Page>
class RingEnd {
 public:
  RingEnd(const Place& place, const Shape& shape)
      : stride_{(shape.size + 63) / 64 * 64},
        page_{place.file(), shape.slots * stride_},
        shape_{shape},
        mask_{shape.slots - 1} {}

 protected:
  [[nodiscard]] bool is_full() const noexcept { return next_ - others_ > mask_; }
  [[nodiscard]] std::span<std::byte> slot(std::uint64_t number) const noexcept {
    return {page_.behind() + (number & mask_) * stride_, shape_.size};
  }
  std::size_t stride_;
  SharedPage<Page> page_;
  Shape shape_;
  std::uint64_t mask_;
  std::uint64_t next_ = 0, others_ = 0;
};

/// The limit: a ring with the two indices that it cannot do without, each side keeping a copy of the other one's.
/// Nothing is safe: who dies is waited for.
struct SpscRing {
  struct Page {
    alignas(128) std::atomic<std::uint64_t> head;
    alignas(128) std::atomic<std::uint64_t> cursor;
  };
  using End = RingEnd<Page>;
  class Sender : End {
   public:
    using End::End;
    template <class Write>
    void send(Write write) {
      while (is_full()) {
        others_ = page_->cursor.load(std::memory_order_acquire);
        if (is_full()) pause_briefly();
      }
      write(slot(next_));
      page_->head.store(++next_, std::memory_order_release);
    }
  };
  class Receiver : End {
   public:
    Receiver(const Place& place, const Shape& shape, std::size_t) : End{place, shape} {}
    template <class Read>
    void receive(Read read) {
      while (next_ == others_) {
        others_ = page_->head.load(std::memory_order_acquire);
        if (next_ == others_) pause_briefly();
      }
      read(slot(next_));
      page_->cursor.store(++next_, std::memory_order_release);
    }
  };
};

/// The same ring, and in front of each message a label, cleared before it is written and set after: the least that tells a
/// successor, and readers of single slots, whether it is whole. Nobody makes use of it here.
struct LabelledRing {
  using Label = std::atomic<std::uint64_t>;
  static Shape with_label(const Shape& shape) {
    Shape with = shape;
    with.size += sizeof(Label);
    return with;
  }
  [[nodiscard]] static Label& label(std::span<std::byte> slot) noexcept {
    return *reinterpret_cast<Label*>(slot.data());
  }

  class Sender : SpscRing::Sender {
   public:
    Sender(const Place& place, const Shape& shape) : SpscRing::Sender{place, with_label(shape)} {}
    template <class Write>
    void send(Write write) {
      SpscRing::Sender::send([&](std::span<std::byte> slot) {
        label(slot).store(0, std::memory_order_release);
        write(slot.subspan(sizeof(Label)));
        label(slot).store(++messages_, std::memory_order_release);
      });
    }

   private:
    std::uint64_t messages_ = 0;
  };
  class Receiver : SpscRing::Receiver {
   public:
    Receiver(const Place& place, const Shape& shape, std::size_t who)
        : SpscRing::Receiver{place, with_label(shape), who} {}
    template <class Read>
    void receive(Read read) {
      SpscRing::Receiver::receive([&](std::span<std::byte> slot) {
        if (label(slot).load(std::memory_order_relaxed) != ++messages_) throw std::runtime_error{"a label is wrong"};
        read(slot.subspan(sizeof(Label)));
      });
    }

   private:
    std::uint64_t messages_ = 0;
  };
};

/// The labelled ring, read as several receivers may share it: each message is named by who wants it, taken by a compare-and-swap
/// of the number that comes next, and let go afterwards: the least that gives each message to one of them and tells which ones a
/// dead one had. The sender looks at both words. Here there is one receiver, and nobody dies.
struct SharedOutRing {
  struct Page {
    alignas(128) std::atomic<std::uint64_t> head;
    alignas(128) std::atomic<std::uint64_t> taken;  // below it, every message has been taken
    alignas(128) std::atomic<std::uint64_t> named;  // the one that the receiver wants, or has; none
  };
  static constexpr std::uint64_t none = ~std::uint64_t{0};
  using End = RingEnd<Page>;
  using Label = LabelledRing::Label;
  class Sender : End {
   public:
    Sender(const Place& place, const Shape& shape) : End{place, LabelledRing::with_label(shape)} {}
    template <class Write>
    void send(Write write) {
      while (is_full()) {
        others_ = page_->taken.load(std::memory_order_acquire);
        others_ = std::min(others_, page_->named.load(std::memory_order_acquire));
        // Each look takes the lines that the receiver writes for every message.
        for (int pauses = 32; is_full() && pauses != 0; --pauses) pause_briefly();
      }
      const auto bytes = slot(next_);
      LabelledRing::label(bytes).store(0, std::memory_order_release);
      write(bytes.subspan(sizeof(Label)));
      LabelledRing::label(bytes).store(++next_, std::memory_order_release);
      page_->head.store(next_, std::memory_order_release);
    }
  };
  class Receiver : End {
   public:
    Receiver(const Place& place, const Shape& shape, std::size_t) : End{place, LabelledRing::with_label(shape)} {
      page_->named.store(none);
    }
    template <class Read>
    void receive(Read read) {
      do {
        next_ = page_->taken.load(std::memory_order_acquire);
        while (next_ == others_) {
          others_ = page_->head.load(std::memory_order_acquire);
          if (next_ == others_) pause_briefly();
        }
        page_->named.store(next_, std::memory_order_release);
      } while (!page_->taken.compare_exchange_strong(next_, next_ + 1, std::memory_order_seq_cst));
      const auto bytes = slot(next_);
      if (LabelledRing::label(bytes).load(std::memory_order_relaxed) != next_ + 1)
        throw std::runtime_error{"a label is wrong"};
      read(bytes.subspan(sizeof(Label)));
      page_->named.store(none, std::memory_order_release);
    }
  };
};

/// A ring for several receivers, each with a cursor: the limit of fan-out. With more processes than processors, who waits
/// has to give way.
struct BroadcastRing {
  struct Page {
    struct alignas(128) Line {
      std::atomic<std::uint64_t> number;
    };
    Line head;
    std::array<Line, most_receivers> cursors;
  };
  using End = RingEnd<Page>;
  class Sender : End {
   public:
    using End::End;
    template <class Write>
    void send(Write write) {
      for (; is_full(); ::sched_yield()) {
        others_ = next_;
        for (std::size_t who = 0; who < shape_.receivers; ++who)
          others_ = std::min(others_, page_->cursors[who].number.load(std::memory_order_acquire));
        if (!is_full()) break;
      }
      write(slot(next_));
      page_->head.number.store(++next_, std::memory_order_release);
    }
  };
  class Receiver : End {
   public:
    Receiver(const Place& place, const Shape& shape, std::size_t who)
        : End{place, shape}, cursor_{page_->cursors.at(who).number} {}
    template <class Read>
    void receive(Read read) {
      for (; next_ == others_; ::sched_yield()) {
        others_ = page_->head.number.load(std::memory_order_acquire);
        if (next_ != others_) break;
      }
      read(slot(next_));
      cursor_.store(++next_, std::memory_order_release);
    }

   private:
    std::atomic<std::uint64_t>& cursor_;
  };
};

/// Overwrites what has not been read, and says nothing: to see that this is noticed.
struct LossyRing {
  class Sender : SpscRing::End {
   public:
    using SpscRing::End::End;
    template <class Write>
    void send(Write write) {
      write(slot(next_));
      page_->head.store(++next_, std::memory_order_release);
    }
  };
  using Receiver = SpscRing::Receiver;
};
}  // namespace holdfast::benchmarks
