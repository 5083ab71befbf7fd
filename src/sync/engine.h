// Carries tasks out: which mailbox may send its next request now, at every target at once.
//
// The engine does no I/O and reads no clock. Its owner adds tasks, asks next() for requests to send
// until there is none, hands answers in, and takes outcomes and changes of health out. One request
// at a time goes to a mailbox (also when several links write to it), and at most `window` to a
// target; after a failure the window grows from 1 with each success, so that a target that comes
// back is not met by a stampede.
//
// Each task added comes back as one outcome, except that `found` ones come unasked. What fails is
// the item's, the mailbox's or the target's: see exchange::Scope; where several requests in a row
// meet trouble and none goes well in between, it is taken to be the target's.
#pragma once

#include <cstdint>
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
    int mailbox;
    std::string target;
    exchange::Account account;
    exchange::Operation operation;
};

class Engine {
  public:
    // Makes a target known, or changes its limits. ahead: how many requests more than there are
    // connections may be handed out at most while it works well, so that no connection has to wait
    // for the owner's next turn; of one that answers slowly only as many as it has connections.
    void set_target(const std::string& name, int max_connections, int ahead = 0);

    // What was known of its health before this engine.
    struct Health {
        int attempts = 0;       // how often it has failed
        bool stopped = false;   // not to be tried until somebody says so
        bool accepted = false;  // it has accepted the credentials that it is asked with
        int refusals = 0;       // how often it has refused them since
        Clock::time_point not_before{};
    };
    void set_target_health(const std::string& name, const Health& health);
    bool knows_health(const std::string& name) const;

    // It is asked with other credentials from now on: they have to prove themselves. How many
    // requests may try them net::Probation says.
    void forget_acceptance(const std::string& name);

    // Its last request failed, or it is stopped.
    bool failing(const std::string& name) const;

    // Makes a mailbox known, or changes what is known of it. Its target must be known. When it
    // moves to another target, its queued tasks come back as released.
    void set_mailbox(MailboxDescription description);

    // The mailbox, if it is known, has this address from now on, where nothing of it is known to
    // fail. Returns whether a request to the old one is under way.
    bool set_address(int mailbox, const std::string& address);
    bool knows_mailbox(int mailbox) const { return conversations_.contains(mailbox); }

    // It has tasks there that have no outcome yet.
    bool busy(int mailbox) const {
        const auto known = conversations_.find(mailbox);
        return known != conversations_.end() && known->second.unfinished() > 0;
    }

    // The mailbox must be known. At a target that is stopped the task comes back as released.
    void add(int mailbox, Task task, Clock::time_point now);

    // Asks for one page of what changed in the mailbox's folder (see Conversation). At a target
    // that is stopped it is given up at once.
    void list_changes(int mailbox, std::string state);

    // Asks for all items in the mailbox's folder that bear the link's stamp (see Conversation). At
    // a target that is stopped it is given up at once.
    void take_inventory(int mailbox);

    // The next request that may go out now.
    std::optional<Sending> next(Clock::time_point now);

    // as_now: it was asked with the credentials that it is asked with now.
    void answer(std::uint64_t sending, exchange::Answer answer, Clock::time_point now,
                bool as_now = true);

    // The request was not sent; what it was made of waits again.
    void not_sent(std::uint64_t sending);

    // When next() may have something although no answer came: pauses that end.
    std::optional<Clock::time_point> next_time() const;

    // Gives up all that is queued for a target, or for all: the tasks come back as released.
    // Answers that are still under way are taken as usual; what they leave to do comes back, too.
    void release(const std::string& target, const exchange::Failure& failure);
    void release(const exchange::Failure& failure);

    // The same for one mailbox.
    void release(int mailbox, const exchange::Failure& failure);

    // Nothing of it is queued or under way.
    bool idle(int mailbox) const;

    // Everything that is known of a mailbox that is idle.
    void forget(int mailbox);

    // Forgets pauses: somebody says that it works again.
    void retry(const std::string& target);

    bool stopped(const std::string& target) const;
    bool available(const std::string& target, Clock::time_point now) const;

    std::vector<Outcome> take_outcomes();
    std::vector<MailboxChange> take_mailbox_changes();
    std::vector<TargetChange> take_target_changes();
    std::vector<FolderPage> take_pages();
    std::vector<StampPage> take_stamp_pages();
    std::vector<Doubt> take_doubts();

    // What tasks wait for, and what came of it (see Conversation::supply). Whoever takes it
    // answers.
    std::vector<WantedContent> take_wanted();
    void supply(const WantedContent& wanted, record::Content content,
                const std::optional<exchange::Failure>& failure = std::nullopt);

    std::size_t in_flight() const { return in_flight_.size(); }

    // Tasks that have no outcome yet.
    std::size_t queued() const;
    std::size_t queued(const std::string& target) const;

  private:
    // Mailboxes that have something to send: those with something fresh first, then in turn.
    class Ready {
      public:
        void add(int mailbox, bool fresh);
        void remove(int mailbox) { tiers_.erase(mailbox); }
        void clear();

        // The first one that may go, which is taken out.
        template <typename May>
        std::optional<int> take(const May& may);

        template <typename Visit>
        void each(const Visit& visit) const;

      private:
        enum Tier { fresh_tier, other_tier, tier_count };
        std::deque<int> queues_[tier_count];  // may hold what is no longer, or elsewhere, in tiers_
        std::unordered_map<int, Tier> tiers_;  // what counts
    };
    struct Target {
        int max_connections = 8;
        int ahead = 0;
        Clock::time_point last_answer{};
        std::chrono::duration<double> between_answers{};  // lately, on an average
        int window = 1;
        int in_flight = 0;
        std::size_t batch = 50;
        std::size_t tasks = 0;      // that have no outcome yet
        int attempts = 0;           // failures in a row of the target
        int refusals = 0;           // of which it refused the credentials
        int troubles = 0;           // requests in a row that met trouble of whatever scope
        bool worked = false;        // with the present credentials
        Clock::time_point noted{};  // when it was last reported to work
        bool health_known = false;
        bool stopped = false;
        int releases = 0;  // how often everything queued was given up
        exchange::Failure last_failure{};
        Clock::time_point not_before{};
        Ready ready;
        std::unordered_set<std::string> busy_addresses;
    };
    static constexpr int released = -1;
    struct InFlight {
        int mailbox;
        std::string target;
        std::string address;
        int releases;  // of the target, when it was sent; released: given up since
    };

    static void note_pace(Target& target, Clock::time_point now);
    static int may_be_ahead(const Target& target);
    static bool is_full(const Target& target);
    static bool is_free(const Target& target, const Conversation& conversation);
    std::optional<InFlight> take_in_flight(std::uint64_t sending);
    void make_ready(const Conversation& conversation);
    void judge(const std::string& name, Target& target,
               const std::optional<exchange::Failure>& trouble, Clock::time_point now, bool as_now);
    void target_succeeded(const std::string& name, Target& target, Clock::time_point now);
    void target_failed(const std::string& name, Target& target, const exchange::Failure& failure,
                       Clock::time_point now);
    void drop(Conversation& conversation, const exchange::Failure& failure);
    void collect(Conversation& conversation);

    std::map<std::string, Target> targets_;
    std::unordered_map<int, Conversation> conversations_;
    std::unordered_map<std::uint64_t, InFlight> in_flight_;
    std::uint64_t last_id_ = 0;
    std::vector<Outcome> outcomes_;
    std::vector<MailboxChange> mailbox_changes_;
    std::vector<TargetChange> target_changes_;
    std::vector<FolderPage> pages_;
    std::vector<StampPage> stamp_pages_;
    std::vector<Doubt> doubts_;
    std::vector<WantedContent> wanted_;
};

}  // namespace crmsync::sync
