// The part of Worker that keeps results of links that somebody is removing until that is over: they
// count if it comes to nothing, and nothing is done for such a link before they are recorded.
#include <algorithm>
#include <iterator>
#include <utility>

#include "server/worker/worker.h"

namespace crmsync {

namespace {

// Each part of results that is of links, of both.
template <class Action>
void for_each_part(Results& one, Results& other, const Action& action) {
    action(one.outcomes, other.outcomes);
    action(one.mailboxes, other.mailboxes);
    action(one.pages, other.pages);
    action(one.stamp_pages, other.stamp_pages);
    action(one.look_again, other.look_again);
    action(one.echoing, other.echoing);
    action(one.settled, other.settled);
}

// In the order in which they came.
template <class Part, class Condition>
void move_where(Part& from, Part& to, const Condition& condition) {
    const auto moved = std::stable_partition(from.begin(), from.end(),
                                             [&](const auto& one) { return !condition(one); });
    std::move(moved, from.end(), std::back_inserter(to));
    from.erase(moved, from.end());
}

int link_of(const std::map<int, int>& link_of_mailbox, int mailbox) {
    const auto link = link_of_mailbox.find(mailbox);
    return link == link_of_mailbox.end() ? 0 : link->second;
}

int link_of(const std::map<int, int>&, const sync::PendingRow& row) {
    return row.link;
}

template <class Result>
int link_of(const std::map<int, int>& link_of_mailbox, const Result& result) {
    return link_of(link_of_mailbox, result.mailbox);
}

}  // namespace

void Worker::write_results_at_hand() {
    for (;;) {
        const std::set<int> removed = write_results(results_, links_of(results_));
        if (removed.empty()) {
            return;
        }
        withhold(removed);
    }
}

std::set<int> Worker::links_of(Results& results) const {
    std::set<int> links;
    for_each_part(results, results, [&](const auto& part, const auto&) {
        for (const auto& one : part) {
            links.insert(link_of(link_of_mailbox_, one));
        }
    });
    return links;
}

void Worker::withhold(const std::set<int>& links) {
    withheld_links_.insert(links.begin(), links.end());
    for_each_part(results_, withheld_, [&](auto& part, auto& withheld) {
        move_where(part, withheld, [&](const auto& one) {
            return withheld_links_.contains(link_of(link_of_mailbox_, one));
        });
    });
}

void Worker::put_back_withheld() {
    for_each_part(results_, withheld_, [&](auto& part, auto& withheld) {
        move_where(part, withheld, [](const auto&) { return true; });
    });
    std::swap(results_.targets, withheld_.targets);
    results_ = std::exchange(withheld_, {});
    withheld_links_.clear();
}

}  // namespace crmsync
