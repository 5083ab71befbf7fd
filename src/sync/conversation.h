// What is going on in one mailbox of one link: one request at a time, the next one made from what
// is queued and from the answer to the last.
//
// Order: the folder is found or created; before the first create its stamps are listed completely,
// so that nothing is created twice; then creates, updates, unlinks, and deletes last; all of what
// is fresh before the rest. A create whose answer was lost makes the list doubtful: the stamps are
// listed again before the next create. So they are when something that was to go was not there: its
// user may have moved it, and back, which gives it another id.
//
// A photo goes after the rest of its item, an attachment a request: what is there is read and, if
// it is another one, deleted before the new one is made. Its content is asked of the owner when its
// turn has come. A lost answer, or a change by somebody else, leads back to reading the item.
//
// Trouble: what the server says of an item ends that item's task alone. A batch that fails as a
// whole, and may do so because of what is in it, is divided until the culprits stand alone. Where
// the server may fail at everything, one that stands alone is the culprit only if something else
// has been answered well meanwhile, which is asked for if need be. So it is with what is denied, of
// which the server does not say whether it means the item or the mailbox: that waits for what else
// is to be written. Anything else makes the mailbox pause, longer with each failure in a row; a
// long pause hands all tasks back. Each kind of request has its own row, which ends when one of
// that kind goes well: a mailbox that is full is read without trouble between two writes that fail,
// and so is one whose folder is found and cannot be listed. Of a list of stamps, which may have to
// begin anew at any page, only the end counts; of what changed in a folder, the first of several
// pages does not, since the state that it ends with may be refused.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "sync/stamp_list.h"
#include "sync/task.h"
#include "sync/task_queue.h"

namespace crmsync::sync {

class Conversation {
  public:
    explicit Conversation(MailboxDescription description)
        : mailbox_(std::move(description)), troubled_(mailbox_.troubled) {}

    const MailboxDescription& mailbox() const { return mailbox_; }

    // The folder that was found is kept, unless it is another one by now.
    void redescribe(MailboxDescription description);

    void add(Task task);
    std::size_t queued() const;

    // Asks for a page of what changed in the folder since a state; empty: for all that is there.
    // One page comes back for each time; from the start when the state turns out to be worthless.
    void list_changes(std::string state) { listing_ = std::move(state); }

    // Asks for all items in the folder that bear the link's stamp. Pages come back until the
    // complete one, which are not kept here; from the start again when something may have been
    // skipped.
    void take_inventory() {
        inventory_.emplace();
        located_.reset();
    }

    // Its user may have deleted the folder, which keeps its id then: that is looked for before the
    // first request, and now and then.
    void locate_folder(Clock::time_point now);

    bool has_work() const { return queued() > waiting() || listing_ || inventory_; }
    bool has_fresh_work() const;

    // Tasks that have no outcome yet.
    std::size_t unfinished() const { return queued() + sent_.size(); }

    // The next request. limit: how many items it may carry at most, 1 or more. Requires has_work(),
    // and the answer to the one before.
    exchange::Operation next(std::size_t limit);
    bool under_way() const { return under_way_; }

    // Takes the answer to the last request. Returns what kept the request from being dealt with,
    // when it may say something about the target too; nullopt: the target is well. Tasks without
    // outcome are queued again.
    std::optional<exchange::Failure> answer(exchange::Answer answer, Clock::time_point now);

    // The last request was not sent.
    void not_sent();

    // Gives up what is queued.
    void drop(Result result, const exchange::Failure& failure);

    // Not before this time may the next request go out.
    Clock::time_point not_before() const { return not_before_; }

    // True once after a batch was too much for the server that others of its size may be, too.
    bool take_shrink() { return ::std::exchange(shrink_, false); }

    // The content that was asked for by wanted(). None: the record has another one by now, or a
    // failure says why it cannot be had.
    void supply(const WantedContent& wanted, record::Content content,
                const std::optional<exchange::Failure>& failure);

    std::vector<WantedContent>& wanted() { return wanted_; }
    std::vector<Outcome>& outcomes() { return outcomes_; }
    std::vector<MailboxChange>& changes() { return changes_; }
    std::vector<FolderPage>& pages() { return pages_; }
    std::vector<StampPage>& stamp_pages() { return stamp_pages_; }
    std::vector<Doubt>& doubts() { return doubts_; }

  private:
    using Tasks = std::vector<Task>;
    using Trouble = std::optional<exchange::Failure>;

    // How often one item may be in the way before it is given up.
    static constexpr int most_attempts = 3;

    // How many requests in a row may be denied, with all that is in them, before it is the
    // mailbox's matter.
    static constexpr int most_denied = 6;

    // How many items together are given up though nothing else could be written.
    static constexpr std::size_t most_given_up = 3;

    TaskQueue& queue_of(Action action);
    bool fills_unseen_gap(const Task& task) const;
    TaskQueue& first_queue_of(const Task& task);
    TaskQueue& origin_of(const Task& sent);
    void take_up_put_off();

    exchange::Operation list_stamps();
    exchange::Operation find_folder();
    exchange::Operation list_folder();
    exchange::Operation list_inventory();
    exchange::Operation create_or_prepare(std::size_t limit);
    exchange::Operation look_up();
    exchange::Operation create_items(std::size_t limit);
    exchange::Operation update_items(std::size_t limit);
    exchange::Operation reread_items(std::size_t limit);
    exchange::Operation unlink_items(std::size_t limit);
    exchange::Operation remove_items(std::size_t limit);
    exchange::Operation read_photos(std::size_t limit);
    exchange::Operation write_photo();

    Trouble answer_of_another(const exchange::Answer& answer);
    Trouble folder_answer(const exchange::Answer& answer, Clock::time_point now);
    void location_answer(const exchange::Answer& answer);
    void changes_answer(exchange::Answer answer);
    Trouble list_answer(const exchange::Answer& answer, Clock::time_point now);
    Trouble inventory_answer(exchange::Answer answer, Clock::time_point now);
    void restart_inventory();
    void drop_inventory();
    void look_up_answer(const exchange::Answer& answer);
    Trouble items_answer(const exchange::Answer& answer, Clock::time_point now);

    void doubt_sent();
    void use_list();
    void find_astray();
    void give_up_astray();
    void not_found(Task&& task);
    void report_unclaimed();
    void there_already(Task&& task, const exchange::ItemAnswer& item);
    void not_there(Task&& task);
    void item_succeeded(Task&& task, const exchange::ItemAnswer& answer);
    void item_found(Task&& task, const exchange::ItemAnswer& answer);
    void item_read(Task&& task, const exchange::ItemAnswer& answer);
    void stranger_read(Task&& task, const exchange::ItemAnswer& answer);
    void proceed(Task&& task);
    void photo_written(Task&& task, const exchange::ItemAnswer& answer);
    void photo_failed(Task&& task, const exchange::Failure& failure);
    void finish_partly(Task& task);
    void ask_for_content();
    std::size_t waiting() const { return waiting_.size() + (asked_ ? 1 : 0); }
    bool denied(const exchange::Failure& failure);
    void put_off_sent();
    void item_failed(Task&& task, const exchange::Failure& failure);
    void gone(Task&& task);
    bool may_be_astray(const Task& task) const;
    bool comes_again(const Task& task) const;
    void recreate(Task&& task);

    Trouble request_failed(const exchange::Failure& failure, Clock::time_point now);
    void divide(const exchange::Failure& failure);
    Trouble bisect(const exchange::Failure& failure, Clock::time_point now);
    void state_refused(const exchange::Failure& failure, Clock::time_point now);
    void folder_gone(const exchange::Failure& failure, Clock::time_point now);
    void back_off(const exchange::Failure& failure, Clock::time_point now);
    void suspend(const exchange::Failure& failure, std::chrono::milliseconds retry_after,
                 Clock::time_point now);

    int& attempts() { return attempts_[operation_.index()]; }
    void answered();
    void succeeded();
    void widen_limit();
    void list_from_start();
    void forget_folder(const std::string& deleted = {});
    void requeue_sent();
    void finish(Task&& task, Result result, exchange::ItemReference item,
                exchange::Failure failure = {});

    MailboxDescription mailbox_;
    bool troubled_;
    TaskQueue lookups_;  // creates whose stamp is too long to be told by the list
    TaskQueue creates_;
    TaskQueue updates_;
    TaskQueue rereads_;      // what is fetched, and what was changed since we knew it
    TaskQueue photos_read_;  // whose photo is to be read
    TaskQueue photos_;       // and to be written
    TaskQueue waiting_;      // for content
    TaskQueue put_off_;      // denied, until all else has been asked for
    std::optional<Task> asked_;
    TaskQueue unlinks_;
    TaskQueue removes_;
    TaskQueue astray_;  // what was to go, and is not where it was known to be
    // All queues but those that wait for something else.
    static constexpr TaskQueue Conversation::*to_be_sent[] = {
        &Conversation::lookups_, &Conversation::creates_,     &Conversation::updates_,
        &Conversation::rereads_, &Conversation::photos_read_, &Conversation::photos_,
        &Conversation::unlinks_, &Conversation::removes_,     &Conversation::astray_};
    Tasks sent_;
    exchange::Operation operation_;
    bool under_way_ = false;  // its answer has not come

    bool elsewhere_ = false;       // the request under way went to what is no longer our folder
    bool to_another_ = false;      // nor our mailbox
    bool folder_missing_ = false;  // looked for and not there: create it
    std::optional<Clock::time_point> located_;  // when it was last looked where the folder is
    bool locate_ = false;
    bool moved_ = false;  // it is not in its place: perhaps deleted with the one that it is in
    StampList stamps_;
    std::vector<Doubt> doubts_;

    std::size_t own_limit_ = 0;  // of a division under way; 0: none
    bool cautious_ = false;      // the server was too slow: let the limit grow slowly
    // Requests of each kind in a row that got nothing done.
    std::array<int, std::variant_size_v<exchange::Operation>> attempts_{};
    bool answered_since_failure_ = false;
    bool in_doubt_ = false;  // whether it is the mailbox or the item: ask for something else first
    std::uint64_t writes_ = 0;  // requests that have written something
    int denied_ = 0;            // requests in a row of which all was denied
    bool shrink_ = false;
    Clock::time_point not_before_{};
    std::vector<Outcome> outcomes_;
    std::vector<WantedContent> wanted_;
    std::vector<MailboxChange> changes_;
    std::optional<std::string> listing_;  // the state to list the folder's changes from
    std::vector<FolderPage> pages_;
    std::optional<StampList> inventory_;
    bool inventory_begun_ = false;  // a page of it has come
    bool asked_inventory_ = false;  // by the request under way
    std::vector<StampPage> stamp_pages_;
};

}  // namespace crmsync::sync
