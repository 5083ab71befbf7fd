#include "sync/stamp_list.h"

#include <algorithm>
#include <utility>

namespace crmsync::sync {

namespace {

constexpr std::size_t most_overlap = 10;  // items

// Characters of a stamp that lists show; in bytes it is this long at least.
constexpr std::size_t longest_listed = 255;

}  // namespace

bool StampList::may_be_cut(const std::string& listed) {
    return listed.size() >= longest_listed;
}

void StampList::doubt() {
    complete_ = false;
    restart();
}

void StampList::restart() {
    offset_ = 0;
    furthest_ = 0;
    expected_.clear();
    items_.clear();
    if (!complete_) {
        cut_.clear();
    }
}

exchange::ListStamps StampList::next_page(const std::string& folder_id) const {
    return {folder_id, offset_};
}

StampList::Page StampList::take(const exchange::ListStamps& asked, const exchange::Answer& answer,
                                const std::string& prefix) {
    if (complete_ || asked.offset != offset_) {
        return Page::unwanted;
    }
    const bool continues =
        expected_.empty() ||
        std::any_of(answer.items.begin(), answer.items.end(), [&](const auto& item) {
            return std::find(expected_.begin(), expected_.end(), item.item.id) != expected_.end();
        });
    if (!continues) {
        restart();
        return Page::moved;
    }
    for (const exchange::ItemAnswer& item : answer.items) {
        if (item.failure || !item.stamp.starts_with(prefix)) {
            continue;
        }
        if (may_be_cut(item.stamp)) {
            cut_.push_back(item.stamp);
        } else {
            items_.try_emplace(item.stamp, Listed{item.item, item.attempt});
        }
    }
    if (answer.complete) {
        complete_ = true;
        return Page::taken;
    }
    if (answer.next_offset <= furthest_) {
        restart();
        return Page::stuck;
    }
    const std::size_t overlap = std::min(most_overlap, answer.items.size() / 2);
    expected_.clear();
    for (std::size_t i = answer.items.size() - overlap; i < answer.items.size(); ++i) {
        expected_.push_back(answer.items[i].item.id);
    }
    furthest_ = answer.next_offset;
    offset_ = std::max(0, furthest_ - static_cast<int>(overlap));
    return Page::taken;
}

exchange::ItemAnswer StampList::answer_of(std::string stamp, Listed&& listed) {
    exchange::ItemAnswer answer;
    answer.stamp = std::move(stamp);
    answer.item = std::move(listed.item);
    answer.attempt = listed.attempt;
    return answer;
}

std::optional<exchange::ItemAnswer> StampList::claim(const std::string& stamp) {
    auto item = items_.extract(stamp);
    if (item.empty()) {
        return std::nullopt;
    }
    return answer_of(stamp, std::move(item.mapped()));
}

void StampList::forget(const std::set<std::string>& ids) {
    std::erase_if(items_, [&](const auto& entry) { return ids.contains(entry.second.item.id); });
}

bool StampList::may_hold_cut(const std::string& stamp) const {
    return std::any_of(cut_.begin(), cut_.end(),
                       [&](const std::string& listed) { return stamp.starts_with(listed); });
}

std::vector<exchange::ItemAnswer> StampList::take_unclaimed() {
    std::vector<exchange::ItemAnswer> items;
    for (auto& [stamp, listed] : ::std::exchange(items_, {})) {
        items.push_back(answer_of(stamp, std::move(listed)));
    }
    return items;
}

}  // namespace crmsync::sync
