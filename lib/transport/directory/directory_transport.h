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

/// What all protocols share whose bus is a directory: presence, names, statistics, what was put back,
/// leaving. A protocol adds its endpoint and how messages travel.
///
/// A derived class calls claim() first in its constructor, makes the endpoint, then announce(); if making it
/// fails, give_up_registration(). Its destructor calls leave_silently().
class DirectoryTransport : public Transport {
 public:
  void requeue(const std::vector<Message>& messages) final;
  void keep_requeued() final { has_requeued_ = false; }
  void acknowledge(const std::vector<std::string>& ids) override;
  std::vector<std::string> peers() final;
  PeerFacts look(const std::string& peer) final;
  Identified identify(const std::string& peer) final { return route_.identify(peer); }
  void watch_peers() final;
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
  void announce();  ///< From now on we can receive.
  void give_up_registration() noexcept;
  void leave_silently() noexcept;
  /// Hands what was put back to the receiver; true if there was something.
  bool deliver_requeued();

  /// Somebody came or went: whoever we have sent to may be another one now.
  virtual void look_after_links() {}
  /// Nobody is to find us from now on; called before the endpoint is removed.
  virtual void stop_listening() = 0;
  /// When we leave, with the statistics written and the endpoint still there: takes in what arrives up to its
  /// end.
  virtual void close_endpoint() {}
  /// Called after it was removed: lets go of everything.
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
  // Of what was put back: how much of the file was handed to the receiver, and what of that is to be
  // acknowledged before it goes. Where messages are not kept it goes at once.
  std::size_t requeued_read_ = 0;
  std::unordered_multiset<std::string> requeued_open_;
  std::vector<Message> kept_;  // put back by an anonymous member, which has no file to put it in
  std::unique_ptr<os::DirectoryWatch> directory_watch_;
  Watch watching_;
  ProcessWatch foreign_;
  Recovery following_;
  std::optional<OwnPlace> own_place_;
};

/// The part of a Protocol that is the same for all directories.
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

/// All of it, for a Transport that is made of a JoinRequest, a Loop and a Receiver.
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
