// Tasks that wait, first come first served; the fresh ones before all others.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <utility>
#include <vector>

#include "sync/task.h"

namespace crmsync::sync {

class TaskQueue {
  public:
    void push_back(Task&& task) { tier(task).push_back(std::move(task)); }
    void push_front(Task&& task) { tier(task).push_front(std::move(task)); }

    // Takes up to `limit` tasks.
    std::vector<Task> take(std::size_t limit) {
        return take(limit, [](const Task&) { return true; });
    }

    // And none from the first one on that does not fit beside those before it.
    template <typename Fits>
    std::vector<Task> take(std::size_t limit, Fits fits) {
        std::vector<Task> tasks;
        for (std::deque<Task>* from : {&fresh_, &backlog_}) {
            while (!from->empty() && tasks.size() < limit) {
                if (!fits(std::as_const(from->front()))) {
                    return tasks;
                }
                tasks.push_back(std::move(from->front()));
                from->pop_front();
            }
        }
        return tasks;
    }

    // Calls `visit` for each of them.
    template <typename Visit>
    void each(const Visit& visit) const {
        std::for_each(fresh_.begin(), fresh_.end(), visit);
        std::for_each(backlog_.begin(), backlog_.end(), visit);
    }

    std::size_t size() const { return fresh_.size() + backlog_.size(); }
    bool empty() const { return fresh_.empty() && backlog_.empty(); }
    bool has_fresh() const { return !fresh_.empty(); }

  private:
    std::deque<Task>& tier(const Task& task) { return task.fresh ? fresh_ : backlog_; }

    std::deque<Task> fresh_;
    std::deque<Task> backlog_;
};

}  // namespace crmsync::sync
