#include "server/outbound/content_supply.h"

#include <string>
#include <utility>

#include "record/content.h"
#include "server/postgres/query.h"

namespace crmsync {

namespace {

constexpr std::size_t most_waiting_bytes = 32U << 20U;

std::size_t size_of(const sync::WantedContent& wanted) {
    const auto description = record::read_description(wanted.description);
    return description ? description->size * 4 / 3 : 0;
}

}  // namespace

void ContentSupply::add(std::vector<sync::WantedContent> wanted) {
    std::move(wanted.begin(), wanted.end(), std::back_inserter(wanted_));
}

std::size_t ContentSupply::held() {
    std::size_t bytes = 0;
    std::erase_if(given_, [&](const auto& given) {
        const auto content = given.lock();
        bytes += content ? content->size() : 0;
        return !content;
    });
    return bytes;
}

std::vector<sync::WantedContent> ContentSupply::take() {
    std::vector<sync::WantedContent> next;
    if (wanted_.empty()) {
        return next;
    }
    std::size_t bytes = held();
    while (!wanted_.empty() &&
           (bytes == 0 || bytes + size_of(wanted_.front()) <= most_waiting_bytes)) {
        bytes += size_of(wanted_.front());
        next.push_back(std::move(wanted_.front()));
        wanted_.pop_front();
    }
    return next;
}

std::vector<record::Content> ContentSupply::read(const LinkConfiguration& link,
                                                 const std::vector<sync::WantedContent>& wanted) {
    std::vector<record::Content> contents(wanted.size());
    if (link.content_query.empty()) {
        return contents;
    }
    std::map<std::string, record::Content> by_record;
    pg::TextArray records;
    for (const sync::WantedContent& one : wanted) {
        if (by_record.emplace(one.record, nullptr).second) {
            records.push_back(one.record);
        }
    }
    const pg::Rows rows = pg::query_as(link.owner, link.content_query, &records);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        if (!rows.is_null(row, 1)) {
            by_record[rows.string(row, 0)] =
                std::make_shared<const std::string>(rows.string(row, 1));
        }
    }
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        const record::Content& content = by_record.at(wanted[i].record);
        if (content && record::describe(*content) == wanted[i].description) {
            contents[i] = content;
            given_.push_back(content);
        }
    }
    return contents;
}

}  // namespace crmsync
