// The part of Worker that reads what is to be sent apart from its items.
#include <map>
#include <utility>

#include "server/postgres/transaction.h"
#include "server/worker/worker.h"

namespace crmsync {

void Worker::supply_contents() {
    contents_.add(engine_.take_wanted());
    if (!may_send()) {
        return;
    }
    std::map<int, std::vector<sync::WantedContent>> by_link;
    for (sync::WantedContent& wanted : contents_.take()) {
        by_link[link_of_mailbox_.at(wanted.mailbox)].push_back(std::move(wanted));
    }
    try {
        while (!by_link.empty()) {
            supply_contents(by_link.begin()->first, by_link.begin()->second);
            by_link.erase(by_link.begin());
        }
    } catch (...) {
        for (auto& [id, wanted] : by_link) {
            contents_.add(std::move(wanted));
        }
        throw;
    }
}

void Worker::supply_contents(int id, const std::vector<sync::WantedContent>& wanted) {
    std::vector<record::Content> contents(wanted.size());
    const auto link = configuration_.links.find(id);
    if (link != configuration_.links.end() && link->second.problem.empty()) {
        guard_link(link->second, [&, &link = link->second] {
            pg::Transaction transaction("reading photos for link " + link.name);
            contents = contents_.read(link, wanted);
            transaction.commit_all_seen();
        });
    }
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        engine_.supply(wanted[i], std::move(contents[i]));
    }
}

}  // namespace crmsync
