// What is going on in one mailbox of one link: one request at a time, the next one made from what
// is queued and from the answer to the last.
//
// Order: the folder is found or created; before the first create its stamps are listed completely,
// so that nothing is created twice; then creates, updates, unlinks, and deletes last. A create
// whose answer was lost makes the list stale: the stamps are listed again before the next create.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sync/task.h"

namespace crmsync::sync {

// What a failed request means for more than its own mailbox.
struct TargetFailure {
    exchange::Failure failure;
};

class Conversation {
  public:
    explicit Conversation(MailboxDescription description)
        : mailbox_(std::move(description)), troubled_(mailbox_.troubled) {}

    const MailboxDescription& mailbox() const { return mailbox_; }
    void redescribe(MailboxDescription description);

    void add(Task task);
    bool has_work() const;
    std::size_t queued() const;

    // The next request. limit: how many items it may carry at most. Requires has_work().
    exchange::Operation next(std::size_t limit);

    // Takes the answer to the last request. Returns a failure that concerns the target as a whole;
    // its tasks are then queued again.
    std::optional<TargetFailure> answer(exchange::Answer answer, Clock::time_point now);

    // Gives up what is queued.
    void drop(Result result, const exchange::Failure& failure);

    // Not before this time may the next request go out.
    Clock::time_point not_before() const { return not_before_; }

    // What the last batch taught: true once after the server was too slow for it.
    bool take_shrink() { return ::std::exchange(shrink_, false); }

    std::vector<Outcome>& outcomes() { return outcomes_; }
    std::vector<MailboxChange>& changes() { return changes_; }

  private:
    using Tasks = std::vector<Task>;

    std::deque<Task>& queue_of(Action action);
    exchange::Operation find_folder();
    exchange::Operation list_stamps();
    exchange::Operation create_items(std::size_t limit);
    exchange::Operation update_items(std::size_t limit);
    exchange::Operation reread_items(std::size_t limit);
    exchange::Operation unlink_items(std::size_t limit);
    exchange::Operation remove_items(std::size_t limit);
    Tasks take(std::deque<Task>& queue, std::size_t limit);

    void folder_answer(const exchange::Answer& answer);
    void list_answer(const exchange::Answer& answer);
    std::optional<TargetFailure> items_answer(const exchange::Answer& answer,
                                              Clock::time_point now);
    void item_succeeded(Task task, exchange::ItemReference item);
    void item_failed(Task task, const exchange::Failure& failure);
    void gone(Task task);
    void recreate(Task task);
    std::optional<TargetFailure> request_failed(const exchange::Failure& failure,
                                                Clock::time_point now);
    void back_off(const exchange::Failure& failure, Clock::time_point now);
    void suspend(const exchange::Failure& failure,
                 std::optional<std::chrono::milliseconds> retry_after);
    void bisect(const exchange::Failure& failure);
    void requeue_sent();
    void queue_front(Task task);
    void succeeded();
    void finish(Task task, Result result, exchange::ItemReference item,
                exchange::Failure failure = {});
    void convert_found();

    MailboxDescription mailbox_;
    bool troubled_;
    std::deque<Task> creates_;
    std::deque<Task> updates_;
    std::deque<Task> rereads_;
    std::deque<Task> unlinks_;
    std::deque<Task> removes_;
    Tasks sent_;
    exchange::Operation operation_;

    bool folder_missing_ = false;  // looked for and not there: create it
    bool listed_ = false;
    int list_offset_ = 0;
    std::unordered_map<std::string, exchange::ItemReference> found_;

    std::size_t own_limit_ = 0;  // of a bisection under way; 0: none
    int attempts_ = 0;
    bool shrink_ = false;
    Clock::time_point not_before_{};
    std::vector<Outcome> outcomes_;
    std::vector<MailboxChange> changes_;
};

}  // namespace crmsync::sync
