#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "loop/recovery.h"
#include "os/events.h"
#include "transport/directory/removal.h"
#include "transport/directory/route.h"
#include "transport/presence/entries.h"
#include "transport/presence/lock_file.h"
#include "transport/presence/own_place.h"
#include "transport/presence/process_watch.h"
#include "transport/transport.h"

namespace ipcm::transport {

/// The part that all protocols share whose bus is a directory: presence, names, statistics, messages that
/// were put back, leaving. A protocol adds its endpoint and the transport of messages.
///
/// A derived class calls claim() first in its constructor, makes the endpoint, then calls announce(); if
/// making it fails, give_up_registration(). Its destructor calls leave_silently().
class DirectoryTransport : public Transport {
 public:
  void requeue(const std::vector<Message>& messages) final;
  void keep_requeued() final { has_requeued_ = false; }
  void acknowledge(const std::vector<std::string>& ids) override;
  std::vector<std::string> peers() final;
  PeerFacts look(const std::string& peer) final;
  Identified identify(const std::string& peer) final { return route_.identify(peer); }
  void watch_peers() final;
  [[nodiscard]] bool has_bus() final;
  void note_own_place() final;
  void look_at_own_place() final;
  void watch_own_place() final;
  [[nodiscard]] Statistics past() const final {
    return request_.anonymous ? Statistics{}
                              : route_.statistics_of(registration_.disk_name, *request_.serializer);
  }
  std::map<std::string, Statistics> all_statistics() final;
  void leave(const Statistics& statistics) final;
  void suspend(const Statistics& statistics, std::optional<double> expires) final;
  bool is_orphaned() final { return route_.is_orphaned(); }

 protected:
  DirectoryTransport(const JoinRequest& request, Loop& loop, Receiver& receiver, const Protocol& protocol,
                     Route route);

  void claim();     ///< Throws NameTaken. Does nothing for anonymous members.
  void announce();  ///< The member can receive from now on.
  void give_up_registration() noexcept;
  void leave_silently() noexcept;
  /// Passes the messages that were put back to the receiver. Returns whether there were any.
  bool deliver_requeued();

  /// A peer joined or left: a name that this member has sent to may belong to another peer now.
  virtual void look_after_links() {}
  /// Makes sure that no peer finds the member any more. Called before the endpoint is removed.
  virtual void stop_listening() = 0;
  /// Receives everything up to the end of the endpoint. Called while the member leaves: the statistics are
  /// written, and the endpoint still exists.
  virtual void close_endpoint() {}
  /// Closes everything. Called after the endpoint was removed.
  virtual void close_links() = 0;

  JoinRequest request_;
  Loop& loop_;
  Receiver& receiver_;
  Route route_;
  Route::Registration registration_;
  bool joined_ = false;

 private:
  void watch_foreign_deaths();
  void follow_peers();
  [[nodiscard]] std::vector<ProcessWatch::Peer> list_foreign();
  void forget_requeued();

  const Protocol& protocol_;
  bool has_requeued_ = false;
  // How much of the file of messages put back the receiver has got, and the messages that it must
  // acknowledge before the file is removed. A protocol that keeps no messages removes it at once.
  std::size_t requeued_read_ = 0;
  std::unordered_multiset<std::string> requeued_open_;
  std::vector<Message> kept_;  // put back by an anonymous member, which has no file
  std::unique_ptr<os::DirectoryWatch> directory_watch_;
  Watch watching_;
  ProcessWatch foreign_;
  Recovery following_;
  std::optional<OwnPlace> own_place_;
  bool is_marked_ = false;  // at the join: a bus of this library
};

/// The part of a Protocol that all directories share.
class DirectoryProtocol : public Protocol {
 public:
  [[nodiscard]] std::string why_not_viable() const noexcept override { return why_no_short_paths(); }
  [[nodiscard]] std::string make_route(const SpawnOptions& options) const final;
  Removal remove_route(const BusInfo& info, Living living) const noexcept final;
  [[nodiscard]] bool remove_unfinished(const std::string& directory, const std::string& file) const final {
    return remove_unfinished_bus(os::Directory(directory), file);
  }
  [[nodiscard]] std::unique_ptr<Ownership> own(const BusInfo& info) const final;
  [[nodiscard]] OwnerFacts owner(const BusInfo& info) const final;

 protected:
  [[nodiscard]] virtual const EndpointKinds& endpoints() const = 0;
};

/// A whole Protocol, for a Transport with a constructor from a JoinRequest, a Loop and a Receiver.
template <class Member>
class DirectoryProtocolOf final : public DirectoryProtocol {
 public:
  struct Traits {
    const char* name;
    const char* summary;  ///< for people
    bool keeps_messages;
    EndpointKinds endpoints;
  };
  explicit DirectoryProtocolOf(Traits traits) : traits_(std::move(traits)) {}
  [[nodiscard]] const char* name() const override { return traits_.name; }
  [[nodiscard]] const char* summary() const override { return traits_.summary; }
  [[nodiscard]] bool keeps_messages() const override { return traits_.keeps_messages; }
  [[nodiscard]] std::unique_ptr<Transport> join(const JoinRequest& request, Loop& loop,
                                                Receiver& receiver) const override {
    return std::make_unique<Member>(request, loop, receiver);
  }

 private:
  [[nodiscard]] const EndpointKinds& endpoints() const override { return traits_.endpoints; }
  Traits traits_;
};

}  // namespace ipcm::transport
