// The resident worker of a database: one loop that consumes the change log, decides, talks to every
// HTTP target at once, and records what came of it. It never waits for the network within a
// transaction, and never for one target while another has something to do.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "exchange/courier.h"
#include "server/configuration/configuration.h"
#include "server/inbound/bring_in.h"
#include "server/outbound/content_supply.h"
#include "server/outbound/link_work.h"
#include "server/outbound/outcome_writer.h"
#include "server/outbound/repair.h"
#include "server/postgres/run_schedule.h"
#include "server/postgres/transaction.h"
#include "server/state/arrivals.h"
#include "server/state/change_log.h"
#include "server/state/creates_under_way.h"
#include "server/state/echoes.h"
#include "server/worker/event_loop.h"
#include "server/worker/survey.h"
#include "sync/engine.h"
#include "sync/work_in_flight.h"

namespace crmsync {

class Worker {
  public:
    Worker();

    // Works until the extension is gone; a termination ends the process.
    void run();

    // Ends the thread that speaks to the network, before the process does. False: it is stuck.
    bool stop() noexcept { return courier_.stop(std::chrono::seconds(1)); }

  private:
    using Clock = sync::Clock;
    using Outcomes = std::vector<sync::Outcome>;

    // Results that come within this time are recorded together.
    static constexpr std::chrono::milliseconds longest_wait_for_results{20};

    // Before the mailboxes of an inbound link that met an error are read again.
    static constexpr std::chrono::seconds pause_after_error{10};

    struct LinkRuntime {
        PendingPosition position;
        bool more = false;
        bool more_deletes = false;
        pg::IntegerArray crowded;                    // mailboxes that may have more of them
        std::optional<std::int64_t> comparison_due;  // by which request
        bool in_trouble = false;
        bool trouble_known = false;  // whether what another process noted of it is still true
        Clock::time_point triggers_checked{};
        Clock::time_point next_sending{};  // where changes wait for an interval
        Clock::time_point last_reading = Clock::time_point::min();  // of all mailboxes
        bool read_soon = false;           // not at once: there may always be a reason
        std::set<int> being_started;      // inbound: mailboxes read out of turn
        pg::IntegerArray absent;          // inbound: mailboxes that take no part
        Clock::time_point absent_read{};  // when it was asked which
        Clock::time_point not_before{};   // inbound: after an error
        int reading_errors = 0;           // inbound: in a row
        int incoming_errors = 0;          // inbound: of what was read, in a row
        Clock::time_point last_retry{};   // when it met another transaction
        int retries = 0;                  // without a second in between
        bool more_arrivals = false;       // inbound: there are more than were fetched
        std::int64_t done = 0;            // records of the pass under way
        std::int64_t total = 0;           // 0: no long pass is under way

        void rest();
    };

    void receive();
    bool may_send() const;
    void send();
    void doubt_all_creates();
    void note_doubts();
    void forget_creates();
    void note_late_delete(int mailbox, const sync::Task& task);
    bool is_doubtful(int mailbox) const;
    std::int64_t next_attempt(int mailbox) const;
    void supply_contents();
    void supply_contents(int link, const std::vector<sync::WantedContent>& wanted);
    void take_results();
    bool results_may_wait() const;
    bool nothing_to_record() const;
    void record_results();
    void count_outcomes();
    void write_results_at_hand();
    void withhold(const std::set<int>& links);
    void put_back_withheld();
    std::set<int> links_of(Results& results) const;
    void pass(bool everything);
    void take_requests();
    std::optional<std::int64_t> asked_for(int link) const;
    void reconfigure(const std::string& fingerprint);
    void take_back();
    void start_afresh();
    void note_targets(const Survey& survey);
    void note_links(const Survey& survey);
    bool may_look(int link, const Survey& survey);
    void start_runs(const Survey& survey);
    bool start_run(RunSchedule& schedule, int link, std::int64_t request = 0);
    void readdress(const std::map<int, std::string>& addresses);
    void move_mailboxes(const Survey& survey);
    void move_mailboxes(const LinkConfiguration& link);
    std::set<int> mailboxes_in_use() const;
    void work();
    void work_on(const LinkConfiguration& link);
    static bool may_retry(LinkRuntime& runtime);
    void guard_link(const LinkConfiguration& link, const std::function<void()>& something,
                    int LinkRuntime::*errors = nullptr);
    void each_link(Outcomes outcomes,
                   const std::function<void(const LinkConfiguration&, const Outcomes&)>& something,
                   int LinkRuntime::*errors = nullptr);
    void read_inbound(const LinkConfiguration& link);
    void read_mailboxes(const LinkConfiguration& link);
    static Clock::time_point reading_due(const LinkConfiguration& link, const LinkRuntime& runtime);
    bool says_nothing(const sync::FolderPage& page);
    void note_made(const sync::Outcome& outcome);
    void take_echoes(const std::vector<sync::FolderPage>& pages);
    void fetch(const LinkConfiguration& link);
    void begin_fetches(int link, std::vector<Fetch> fetches, std::set<ItemName>& under_way);
    void take_in();
    Clock::time_point next_reading() const;
    void take_items_back(const LinkConfiguration& link);
    RepairWork repairs_of(const LinkConfiguration& link, const Work& work);
    void begin_repairs(const LinkConfiguration& link, RepairWork work);
    void take_repaired();
    void commit_for(const Work& work, pg::Transaction& transaction);
    void begin(const LinkConfiguration& link, Work work);
    void count(const sync::Outcome& outcome);
    void end(int mailbox, const std::string& record, bool released);
    void report_progress(int link, LinkRuntime& runtime);
    bool wants_work(const LinkConfiguration& link) const;
    bool has_more(const LinkConfiguration& link, const LinkRuntime& runtime) const;
    bool wants_deletes(const LinkConfiguration& link, const LinkRuntime& runtime) const;
    const LinkConfiguration* next_link() const;
    void log_targets(const std::vector<sync::TargetChange>& changes);
    std::optional<std::chrono::milliseconds> next_wait(Clock::time_point next_poll) const;

    exchange::Courier courier_;
    EventLoop events_;
    sync::Engine engine_;
    ChangeLog log_;
    Configuration configuration_;
    std::string fingerprint_;
    bool reread_ = false;  // the configuration, although its fingerprint is the same
    sync::WorkInFlight in_flight_;
    std::map<int, LinkRuntime> runtimes_;
    struct Sent {
        std::uint64_t sending;  // what the engine calls it
        int mailbox;
        std::string target;
        std::shared_ptr<const net::Endpoint> endpoint;
    };
    std::unordered_map<std::uint64_t, Sent> sent_;  // by parcel
    std::uint64_t last_parcel_ = 0;
    RunSchedule imports_;
    RunSchedule comparisons_;
    std::map<int, std::int64_t> requested_;  // links, and when, as PostgreSQL counts time
    bool again_ = false;  // what was waited for has ended: there is something to look at
    std::optional<std::int64_t> everything_requested_;
    bool position_requested_ = false;
    bool identity_reported_ = false;
    std::map<int, int> link_of_mailbox_;
    std::map<int, int> moving_;  // mailboxes that wait for what is under way, and their links
    std::set<int> awaited_;      // mailboxes of which it counts when they have been read
    Echoes echoes_;
    std::set<ItemName> fetching_;
    std::set<int> listing_;  // mailboxes under repair whose items are being listed
    std::set<ItemName> repairing_;
    bool repairs_go_on_ = false;
    CreatesUnderWay creates_;
    // Until then a create or a delete may be carried out that another process has sent, or, by
    // mailbox, one whose answer was lost.
    Clock::time_point doubtful_until_;
    std::map<int, Clock::time_point> mailbox_doubtful_until_;
    Outcomes outcomes_;                          // that are not counted yet
    Results results_;                            // that are not recorded yet
    Results withheld_;                           // the same, of links that somebody is removing
    std::set<int> withheld_links_;               // these
    Outcomes read_;                              // that has not come in yet
    std::map<ItemName, std::string> overtaken_;  // of that: met by writes, of these records
    Outcomes repaired_;                          // the same, read for a repair
    std::size_t content_in_results_ = 0;         // bytes
    ContentSupply contents_;
    Clock::time_point results_since_{};
    Clock::time_point next_statistics_{};
    Clock::time_point held_until_ = Clock::time_point::max();  // changes that wait for an interval
    bool others_depend_ = false;                               // on one of the results
    int last_link_ = 0;                                        // whose turn it was
};

}  // namespace crmsync
