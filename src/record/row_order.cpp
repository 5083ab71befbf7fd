#include "record/row_order.h"

#include <algorithm>
#include <utility>

#include "record/text.h"

namespace crmsync::record {

namespace {

constexpr std::size_t nowhere = static_cast<std::size_t>(-1);

bool is_there(const RowValues& row) {
    return std::any_of(row.begin(), row.end(),
                       [](const Value& value) { return value.has_value(); });
}

// Whether they cannot be one row: who writes the same in capitals means the same.
bool contradict(const RowValues& one, const RowValues& another) {
    for (std::size_t column = 0; column < one.size(); ++column) {
        if (one[column] && another[column] &&
            lower_ascii(*one[column]) != lower_ascii(*another[column])) {
            return true;
        }
    }
    return false;
}

class Placement {
  public:
    explicit Placement(const std::vector<RowValues>& rows)
        : rows_(rows), order_(rows.size(), nowhere), placed_(rows.size(), false) {}

    // Rows that hold what the pattern does; where several do, the one that is there already.
    void match(const std::vector<RowValues>& pattern) {
        for (const bool in_place : {true, false}) {
            for (std::size_t place = 0; place < order_.size(); ++place) {
                for (std::size_t row = 0; row < rows_.size() && is_there(pattern[place]); ++row) {
                    if ((row == place) >= in_place && rows_[row] == pattern[place]) {
                        put(row, place);
                    }
                }
            }
        }
    }

    // What is new or changed stays in its place, or takes one that nobody had, or any. Where the
    // other side has a new row as well it leaves that its place while there is room for both.
    void settle_new(const std::vector<RowValues>& agreed, const std::vector<RowValues>& other) {
        for_each_new([&](std::size_t row) {
            if (is_there(agreed[row]) || !contradict(rows_[row], other[row])) {
                put(row, row);
            }
        });
        put_where(
            [&](std::size_t place) { return !is_there(agreed[place]) && !is_there(other[place]); });
        for_each_new([&](std::size_t row) { put(row, row); });
        put_where([&](std::size_t place) { return !is_there(agreed[place]); });
        for_each_new([&](std::size_t row) { put_anywhere(row); });
    }

    void settle_absent() {
        for (std::size_t row = 0; row < rows_.size(); ++row) {
            put_anywhere(row);
        }
    }

    std::vector<std::size_t> result() && { return std::move(order_); }

  private:
    template <class Settle>
    void for_each_new(const Settle& settle) {
        for (std::size_t row = 0; row < rows_.size(); ++row) {
            if (is_there(rows_[row])) {
                settle(row);
            }
        }
    }

    template <class IsFree>
    void put_where(const IsFree& is_free) {
        for_each_new([&](std::size_t row) {
            for (std::size_t place = 0; place < order_.size(); ++place) {
                if (is_free(place)) {
                    put(row, place);
                }
            }
        });
    }

    void put_anywhere(std::size_t row) {
        for (std::size_t place = 0; place < order_.size(); ++place) {
            put(row, place);
        }
    }

    void put(std::size_t row, std::size_t place) {
        if (!placed_[row] && order_[place] == nowhere) {
            order_[place] = row;
            placed_[row] = true;
        }
    }

    const std::vector<RowValues>& rows_;
    std::vector<std::size_t> order_;
    std::vector<bool> placed_;
};

}  // namespace

std::vector<std::size_t> row_order(const std::vector<RowValues>& agreed,
                                   const std::vector<RowValues>& other,
                                   const std::vector<RowValues>& rows, NewRows new_rows) {
    Placement placement(rows);
    placement.match(agreed);
    placement.match(other);
    placement.settle_new(agreed, new_rows == NewRows::stay ? agreed : other);
    placement.settle_absent();
    return std::move(placement).result();
}

}  // namespace crmsync::record
