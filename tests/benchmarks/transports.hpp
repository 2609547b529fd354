// transports.hpp - the ways to bring messages from one process to others that DataBlock is measured beside. All in one
// form, without virtual functions: Sender(place, shape), send(write), Receiver(place, shape, who), receive(read).
//   send     waits for room, has write(bytes) fill the message, and lets it go
//   receive  waits for a message, and has read(bytes) look at it; some take several at once
// What can be done in place is done in place. Both wait by looking again and again, without sleeping, unless it is said.
#pragma once
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>
#include <holdfast/data_block.hpp>
#include <holdfast/platform/descriptor.hpp>

#ifdef HOLDFAST_BENCHMARK_BOOST
#include <boost/interprocess/ipc/message_queue.hpp>
#endif
#ifdef HOLDFAST_BENCHMARK_ZEROMQ
#include <zmq.h>
#endif
#ifdef HOLDFAST_BENCHMARK_ICEORYX
#include <iceoryx_posh/popo/untyped_publisher.hpp>
#include <iceoryx_posh/popo/untyped_subscriber.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>
#endif

#include "place.hpp"
#include "rings.hpp"
#include "shared_page.hpp"
#include "transfer_page.hpp"

namespace holdfast::benchmarks {
[[noreturn, gnu::cold]] inline void fail(const std::string& what) {
  throw std::system_error{errno, std::generic_category(), what};
}

/// How a DataBlock is read.
enum class Reading { one_by_one, in_batches, by_a_group, by_a_group_in_batches };

template <OnFull on_full = OnFull::wait, Reading reading = Reading::one_by_one>
struct DataBlockTransport {
  static constexpr bool in_batches = reading == Reading::in_batches || reading == Reading::by_a_group_in_batches;
  static constexpr std::size_t batch = 8;

  class Sender {
   public:
    Sender(const Place& place, const Shape& shape)
        : producer_{DataBlockProducer::create(
              place.name, {.slot_size = shape.size, .slot_count = shape.slots, .on_full = on_full})},
          size_{shape.size} {}
    template <class Write>
    void send(Write write) {
      auto slot = producer_.acquire_write_slot();
      if constexpr (on_full == OnFull::refuse) {
        while (!slot) {
          pause_briefly();
          slot = producer_.acquire_write_slot();
        }
      }
      write(slot.bytes());
      slot.commit(size_);
    }

   private:
    DataBlockProducer producer_;
    std::size_t size_;
  };
  class Receiver {
   public:
    Receiver(const Place& place, const Shape&, std::size_t)
        : consumer_{DataBlockConsumer::attach(
              place.name,
              {.group =
                   reading == Reading::by_a_group || reading == Reading::by_a_group_in_batches ? "sharers" : ""})} {}
    template <class Read>
    void receive(Read read) {
      if constexpr (in_batches) {
        auto slots = consumer_.acquire_consume_slots(batch);
        for (const auto& slot : slots) look(slot, read);
        if (!slots.release()) throw std::runtime_error{"a hold was broken"};
      } else {
        auto slot = consumer_.acquire_consume_slot();
        look(slot, read);
        if (!slot.release()) throw std::runtime_error{"a hold was broken"};
      }
    }

   private:
    template <class Read>
    void look(const SlotView& slot, Read read) {
      if (slot.id() < next_) throw std::runtime_error{"slots come twice, or in another order"};
      next_ = slot.id() + 1;
      read(slot.bytes());
    }
    DataBlockConsumer consumer_;
    SlotId next_ = 0;
  };
};

/// A display beside the others.
class LatestReceiver {
 public:
  explicit LatestReceiver(const Place& place)
      : consumer_{DataBlockConsumer::attach(place.name, {.mode = ReadMode::latest_only})} {}
  /// The newest one, if there is any that it has not seen.
  template <class Read>
  bool receive(Read read) {
    auto slot = consumer_.acquire_consume_slot(std::chrono::nanoseconds{0});
    if (!slot) return false;
    read(slot.bytes());
    return slot.release();
  }

 private:
  DataBlockConsumer consumer_;
};

/// A buffer of its own for those that copy.
class Buffer {
 public:
  explicit Buffer(std::size_t size) : words_(size / sizeof(std::uint64_t)) {}
  [[nodiscard]] std::span<std::byte> bytes() noexcept { return std::as_writable_bytes(std::span{words_}); }

 private:
  std::vector<std::uint64_t> words_;
};

/// Calls transfer(data, size), which may do a part, until all is done. `again`: nothing could be done now.
template <class Transfer>
void transfer_all(std::span<std::byte> bytes, std::size_t piece, Transfer transfer) {
  while (!bytes.empty()) {
    const auto done = transfer(bytes.data(), std::min(piece, bytes.size()));
    if (done > 0)
      bytes = bytes.subspan(static_cast<std::size_t>(done));
    else if (done == 0 || (errno != EAGAIN && errno != EINTR))
      fail("transfer");
    else
      pause_briefly();
  }
}

enum class Wait { busy, asleep };

template <Wait wait = Wait::busy>
struct Pipe {
  class End {
   public:
    End(const Place& place, const Shape& shape, int flags) : buffer_{shape.size} {
      if (::mkfifo(place.file().c_str(), 0600) != 0 && errno != EEXIST) fail(place.name);
      pipe_ =
          platform::Descriptor{::open(place.file().c_str(), flags | O_CLOEXEC | (wait == Wait::busy ? O_NONBLOCK : 0))};
      if (!pipe_) fail(place.name);
    }

   protected:
    Buffer buffer_;
    platform::Descriptor pipe_;
  };
  class Sender : End {
   public:
    // Both directions, so as not to wait for a reader here.
    Sender(const Place& place, const Shape& shape) : End{place, shape, O_RDWR} {
      // As much as an unprivileged process may have. Without: the usual 64 KiB.
      static_cast<void>(::fcntl(End::pipe_.number(), F_SETPIPE_SZ, 1 << 20));
    }
    template <class Write>
    void send(Write write) {
      write(End::buffer_.bytes());
      transfer_all(End::buffer_.bytes(), End::buffer_.bytes().size(),
                   [this](const void* data, std::size_t size) { return ::write(End::pipe_.number(), data, size); });
    }
  };
  class Receiver : End {
   public:
    Receiver(const Place& place, const Shape& shape, std::size_t) : End{place, shape, O_RDONLY} {}
    template <class Read>
    void receive(Read read) {
      transfer_all(End::buffer_.bytes(), End::buffer_.bytes().size(),
                   [this](void* data, std::size_t size) { return ::read(End::pipe_.number(), data, size); });
      read(End::buffer_.bytes());
    }
  };
};

/// AF_UNIX, SOCK_SEQPACKET. Larger messages than a packet can be go in pieces.
struct SeqpacketSocket {
  static constexpr std::size_t piece = 128 * 1024;
  class End {
   public:
    End(const Place& place, const Shape& shape)
        : buffer_{shape.size}, socket_{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)} {
      if (!socket_ || place.file().native().size() >= sizeof address_.sun_path) fail(place.name);
      address_.sun_family = AF_UNIX;
      std::strncpy(address_.sun_path, place.file().c_str(), sizeof address_.sun_path - 1);
    }

   protected:
    [[nodiscard]] const sockaddr* address() const noexcept { return reinterpret_cast<const sockaddr*>(&address_); }
    void make_wide() {
      constexpr int size = 4 << 20;  // the kernel takes less if it wants to
      ::setsockopt(socket_.number(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
    Buffer buffer_;
    platform::Descriptor socket_;
    sockaddr_un address_{};
  };
  class Sender : End {
   public:
    Sender(const Place& place, const Shape& shape) : End{place, shape} {
      if (::bind(socket_.number(), address(), sizeof address_) != 0 || ::listen(socket_.number(), 1) != 0)
        fail(place.name);
    }
    template <class Write>
    void send(Write write) {
      if (!connected_) {
        socket_ = platform::Descriptor{::accept4(socket_.number(), nullptr, nullptr, SOCK_CLOEXEC)};
        if (!socket_) fail("accept");
        make_wide();
        connected_ = true;
      }
      write(buffer_.bytes());
      transfer_all(buffer_.bytes(), piece, [this](const void* data, std::size_t size) {
        return ::send(socket_.number(), data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
      });
    }

   private:
    bool connected_ = false;
  };
  class Receiver : End {
   public:
    Receiver(const Place& place, const Shape& shape, std::size_t) : End{place, shape} {
      if (::connect(socket_.number(), address(), sizeof address_) != 0) fail(place.name);
    }
    template <class Read>
    void receive(Read read) {
      transfer_all(buffer_.bytes(), piece,
                   [this](void* data, std::size_t size) { return ::recv(socket_.number(), data, size, MSG_DONTWAIT); });
      read(buffer_.bytes());
    }
  };
};

#ifdef HOLDFAST_BENCHMARK_BOOST
struct BoostMessageQueue {
  using Queue = boost::interprocess::message_queue;
  class Sender {
   public:
    Sender(const Place& place, const Shape& shape)
        : name_{place.name},
          buffer_{shape.size},
          queue_{boost::interprocess::create_only, place.name.c_str(), shape.slots, shape.size} {}
    Sender(const Sender&) = delete;
    Sender& operator=(const Sender&) = delete;
    ~Sender() { Queue::remove(name_.c_str()); }
    template <class Write>
    void send(Write write) {
      const auto bytes = buffer_.bytes();
      write(bytes);
      while (!queue_.try_send(bytes.data(), bytes.size(), 0)) pause_briefly();
    }

   private:
    std::string name_;
    Buffer buffer_;
    Queue queue_;
  };
  class Receiver {
   public:
    Receiver(const Place& place, const Shape& shape, std::size_t)
        : buffer_{shape.size}, queue_{boost::interprocess::open_only, place.name.c_str()} {}
    template <class Read>
    void receive(Read read) {
      const auto bytes = buffer_.bytes();
      Queue::size_type size = 0;
      unsigned priority = 0;
      while (!queue_.try_receive(bytes.data(), bytes.size(), size, priority)) pause_briefly();
      read(bytes.first(size));
    }

   private:
    Buffer buffer_;
    Queue queue_;
  };
};
#endif

#ifdef HOLDFAST_BENCHMARK_ZEROMQ
/// PUSH and PULL over ipc://. Asleep, not busy: it has a thread of its own in each process, on the same processor.
struct ZeroMq {
  class End {
   public:
    End(const Shape& shape, int type)
        : context_{zmq_ctx_new()}, socket_{zmq_socket(context_, type)}, size_{shape.size} {
      const int limit = static_cast<int>(shape.slots);
      zmq_setsockopt(socket_, ZMQ_SNDHWM, &limit, sizeof limit);
      zmq_setsockopt(socket_, ZMQ_RCVHWM, &limit, sizeof limit);
      constexpr int none = 0;
      zmq_setsockopt(socket_, ZMQ_LINGER, &none, sizeof none);
    }
    End(const End&) = delete;
    End& operator=(const End&) = delete;
    ~End() {
      zmq_close(socket_);
      zmq_ctx_term(context_);
    }

   protected:
    [[nodiscard]] static std::string address(const Place& place) { return "ipc://" + place.file().native(); }
    static void check(int result) {
      if (result < 0) throw std::runtime_error{std::string{"ZeroMQ: "} + zmq_strerror(zmq_errno())};
    }
    void* context_;
    void* socket_;
    std::size_t size_;
  };
  class Sender : End {
   public:
    Sender(const Place& place, const Shape& shape) : End{shape, ZMQ_PUSH} {
      check(zmq_bind(socket_, address(place).c_str()));
    }
    template <class Write>
    void send(Write write) {
      zmq_msg_t message;
      check(zmq_msg_init_size(&message, size_));
      write(std::span{static_cast<std::byte*>(zmq_msg_data(&message)), size_});
      check(zmq_msg_send(&message, socket_, 0));
    }
  };
  class Receiver : End {
   public:
    Receiver(const Place& place, const Shape& shape, std::size_t) : End{shape, ZMQ_PULL} {
      check(zmq_connect(socket_, address(place).c_str()));
    }
    template <class Read>
    void receive(Read read) {
      zmq_msg_t message;
      check(zmq_msg_init(&message));
      check(zmq_msg_recv(&message, socket_, 0));
      read(std::span{static_cast<const std::byte*>(zmq_msg_data(&message)), zmq_msg_size(&message)});
      zmq_msg_close(&message);
    }
  };
};
#endif

#ifdef HOLDFAST_BENCHMARK_ICEORYX
/// A publisher that waits for its subscriber: nothing is lost. Needs a running RouDi.
struct Iceoryx {
  static iox::capro::ServiceDescription service(const Place& place) {
    return {"holdfast", "transfer", iox::capro::IdString_t{iox::cxx::TruncateToCapacity, place.name}};
  }
  static void start_runtime() {
    iox::runtime::PoshRuntime::initRuntime(
        iox::RuntimeName_t{iox::cxx::TruncateToCapacity, "holdfast-" + std::to_string(::getpid())});
  }
  class Sender {
   public:
    Sender(const Place& place, const Shape& shape) : size_{static_cast<std::uint32_t>(shape.size)} {
      start_runtime();
      iox::popo::PublisherOptions options;
      options.historyCapacity = 0;
      options.subscriberTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
      publisher_.emplace(service(place), options);
    }
    template <class Write>
    void send(Write write) {
      if (!connected_) {
        while (!publisher_->hasSubscribers()) ::sched_yield();
        connected_ = true;
      }
      auto loan = publisher_->loan(size_, alignof(std::uint64_t));
      if (loan.has_error()) throw std::runtime_error{"iceoryx: no chunk to be had"};
      write(std::span{static_cast<std::byte*>(loan.value()), size_});
      publisher_->publish(loan.value());
    }

   private:
    std::uint32_t size_;
    std::optional<iox::popo::UntypedPublisher> publisher_;
    bool connected_ = false;
  };
  class Receiver {
   public:
    Receiver(const Place& place, const Shape& shape, std::size_t) : size_{shape.size} {
      start_runtime();
      iox::popo::SubscriberOptions options;
      options.queueCapacity = shape.slots;
      options.historyRequest = 0;
      options.queueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
      subscriber_.emplace(service(place), options);
    }
    template <class Read>
    void receive(Read read) {
      for (;;) {
        auto taken = subscriber_->take();
        if (taken.has_error()) {
          pause_briefly();
          continue;
        }
        read(std::span{static_cast<const std::byte*>(taken.value()), size_});
        subscriber_->release(taken.value());
        return;
      }
    }

   private:
    std::size_t size_;
    std::optional<iox::popo::UntypedSubscriber> subscriber_;
  };
};
#endif

/// Calls run(std::type_identity<Transport>{}).
template <class Run>
auto with_transport(std::string_view kind, Run run) {
  using enum OnFull;
  using enum Reading;
  if (kind == "spsc_ring") return run(std::type_identity<SpscRing>{});
  if (kind == "labelled_ring") return run(std::type_identity<LabelledRing>{});
  if (kind == "shared_out_ring") return run(std::type_identity<SharedOutRing>{});
  if (kind == "data_block" || kind == "data_block_display") return run(std::type_identity<DataBlockTransport<>>{});
  if (kind == "data_block_refuse") return run(std::type_identity<DataBlockTransport<refuse>>{});
  if (kind == "data_block_overwrite") return run(std::type_identity<DataBlockTransport<overwrite_oldest>>{});
  if (kind == "data_block_batches") return run(std::type_identity<DataBlockTransport<wait, in_batches>>{});
  if (kind == "data_block_group") return run(std::type_identity<DataBlockTransport<wait, by_a_group>>{});
  if (kind == "data_block_group_batches")
    return run(std::type_identity<DataBlockTransport<wait, by_a_group_in_batches>>{});
  if (kind == "broadcast_ring") return run(std::type_identity<BroadcastRing>{});
  if (kind == "pipe") return run(std::type_identity<Pipe<>>{});
  if (kind == "pipe_asleep") return run(std::type_identity<Pipe<Wait::asleep>>{});
  if (kind == "seqpacket") return run(std::type_identity<SeqpacketSocket>{});
#ifdef HOLDFAST_BENCHMARK_BOOST
  if (kind == "boost_message_queue") return run(std::type_identity<BoostMessageQueue>{});
#endif
#ifdef HOLDFAST_BENCHMARK_ZEROMQ
  if (kind == "zeromq") return run(std::type_identity<ZeroMq>{});
#endif
#ifdef HOLDFAST_BENCHMARK_ICEORYX
  if (kind == "iceoryx") return run(std::type_identity<Iceoryx>{});
#endif
  if (kind == "lossy_ring") return run(std::type_identity<LossyRing>{});
  throw std::invalid_argument{"no such transport in this build: " + std::string{kind}};
}
}  // namespace holdfast::benchmarks
