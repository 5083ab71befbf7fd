// Carries tasks out: which mailbox may send its next request now, at every target at once.
//
// The engine does no I/O and reads no clock. Its owner adds tasks, asks next() for requests to send
// until there is none, hands answers in, and takes outcomes and changes of health out. One request
// at a time goes to a mailbox (also when several links write to it), and at most `window` to a
// target; the window grows from 1 with each success, so that a target that comes back is not met by
// a stampede.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "sync/conversation.h"
#include "sync/task.h"

namespace crmsync::sync {

struct Sending {
    std::uint64_t id;
    std::string target;
    exchange::Account account;
    exchange::Operation operation;
};

class Engine {
  public:
    // Makes a target known, or changes its limit.
    void set_target(const std::string& name, int max_connections);

    // What was known of its health before this engine: how often it has failed, and whether it is
    // not to be tried until somebody says so.
    void set_target_health(const std::string& name, int attempts, bool stopped);
    bool knows_health(const std::string& name) const;

    // Its last request failed, or it is stopped.
    bool failing(const std::string& name) const;

    // Makes a mailbox known, or changes what is known of it. Its target must be known.
    void set_mailbox(MailboxDescription description);
    bool knows_mailbox(int mailbox) const { return conversations_.contains(mailbox); }

    void add(int mailbox, Task task, Clock::time_point now);

    // The next request that may go out now.
    std::optional<Sending> next(Clock::time_point now);

    void answer(std::uint64_t sending, exchange::Answer answer, Clock::time_point now);

    // When next() may have something although no answer came: pauses that end.
    std::optional<Clock::time_point> next_time() const;

    // Gives up all that is queued for a target: its tasks come back as released. Answers that are
    // still under way are taken as usual.
    void release(const std::string& target, const exchange::Failure& failure);

    // Forgets pauses: somebody says that it works again.
    void retry(const std::string& target);

    bool available(const std::string& target, Clock::time_point now) const;

    std::vector<Outcome> take_outcomes();
    std::vector<MailboxChange> take_mailbox_changes();
    std::vector<TargetChange> take_target_changes();

    std::size_t in_flight() const { return in_flight_.size(); }
    std::size_t queued() const;
    std::size_t queued(const std::string& target) const;

  private:
    struct Target {
        int max_connections = 8;
        int window = 1;
        int in_flight = 0;
        std::size_t batch = 50;
        int attempts = 0;
        bool worked = false;
        bool health_known = false;
        bool stopped = false;
        Clock::time_point not_before{};
        std::deque<int> ready;            // mailboxes with something to send
        std::unordered_set<int> waiting;  // those in `ready`
        std::unordered_set<std::string> busy_addresses;
    };
    struct InFlight {
        int mailbox;
    };

    void make_ready(Target& target, const Conversation& conversation, bool first);
    void target_succeeded(const std::string& name, Target& target);
    void target_failed(const std::string& name, Target& target, const exchange::Failure& failure,
                       Clock::time_point now);
    void collect(Conversation& conversation);

    std::map<std::string, Target> targets_;
    std::unordered_map<int, Conversation> conversations_;
    std::unordered_map<std::uint64_t, InFlight> in_flight_;
    std::uint64_t last_id_ = 0;
    std::vector<Outcome> outcomes_;
    std::vector<MailboxChange> mailbox_changes_;
    std::vector<TargetChange> target_changes_;
};

}  // namespace crmsync::sync
