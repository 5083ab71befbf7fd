#include "server/import/directory_slices.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <string_view>

#include "server/postgres/session.h"

namespace crmsync {

namespace {

constexpr std::int64_t slice_blocks = 96;
constexpr std::int64_t lines_per_block = 1024;

constexpr int most_attempts = 4;

// How long a slice waits for rows that somebody else has locked, while he who wants its other rows
// waits for it; and, once it has met such a row, each part of it.
constexpr std::chrono::milliseconds longest_wait{1000};
constexpr std::chrono::milliseconds longest_wait_again{100};

constexpr std::array about_rows = {"09", "21", "22", "23", "27", "44", "P0"};

// Connections, transactions, resources, states of objects, operators, the system, and what does not
// resolve or has the wrong type.
constexpr std::array about_everything = {"08", "25", "40", "42", "53", "55", "57", "58", "XX"};

template <class Classes>
bool is_of(const Classes& classes, const std::string& state) {
    return std::any_of(classes.begin(), classes.end(),
                       [&](std::string_view name) { return state.starts_with(name); });
}

std::string address(std::int64_t position) {
    return "(" + std::to_string(position / lines_per_block) + "," +
           std::to_string(position % lines_per_block) + ")";
}

class Halves {
  public:
    explicit Halves(const SlicedWork& work) : work_(work) {}

    void run(Slice slice) {
        const std::optional<pg::Error> failure = attempt(slice);
        if (!failure) {
            return;
        }
        if (slice.end - slice.begin <= 1) {
            work_.fail(slice, *failure);
            return;
        }
        const std::int64_t middle = slice.begin + (slice.end - slice.begin) / 2;
        run({slice.begin, middle});
        run({middle, slice.end});
    }

  private:
    // The error that a row of the slice has caused, or nullopt.
    std::optional<pg::Error> attempt(Slice slice) {
        for (int attempts = 1;; ++attempts) {
            std::optional<pg::Error> failure = try_once(slice);
            if (!failure) {
                return std::nullopt;
            }
            if (failure->sqlstate == ERRCODE_LOCK_NOT_AVAILABLE) {
                if (has_waited_) {
                    return failure;
                }
                wait_for_relations();
            } else if (failure->code().starts_with("40")) {
                if (attempts == most_attempts) {
                    throw pg::Error(*failure);
                }
            } else {
                require_that_rows_matter(*failure);
                return failure;
            }
        }
    }

    std::optional<pg::Error> try_once(Slice slice) {
        const LockTimeout timeout(has_waited_ ? longest_wait_again : longest_wait);
        try {
            work_.run(slice);
            return std::nullopt;
        } catch (const pg::Error& error) {
            return error;
        }
    }

    // Whoever alters a relation, or makes an index, keeps all rows from being written, and ends.
    void wait_for_relations() {
        work_.run({0, 0});
        works_without_rows_ = true;
        has_waited_ = true;
    }

    // A right that a trigger misses for one row looks like one that all rows miss, and other codes
    // can be anything: if the same fails without a row, no row is to blame.
    void require_that_rows_matter(const pg::Error& failure) {
        if (!may_be_about_one_row(failure)) {
            throw pg::Error(failure);
        }
        if (!works_without_rows_ && !is_of(about_rows, failure.code())) {
            work_.run({0, 0});
            works_without_rows_ = true;
        }
    }

    const SlicedWork& work_;
    bool works_without_rows_ = false;
    bool has_waited_ = false;  // for a lock
};

}  // namespace

bool may_be_about_one_row(const pg::Error& error) {
    const std::string state = error.code();
    return state == "42501" || !is_of(about_everything, state);
}

void run_halved(Slice slice, const SlicedWork& work) {
    Halves(work).run(slice);
}

void for_each_slice(std::int64_t blocks, const std::function<void(Slice)>& work) {
    for (std::int64_t block = 0; block < blocks; block += slice_blocks) {
        pg::check_interrupts();
        work({block * lines_per_block, std::min(block + slice_blocks, blocks) * lines_per_block});
    }
}

std::string lies_within(const std::string& alias, Slice slice) {
    return " AND " + alias + ".ctid >= '" + address(slice.begin) + "' AND " + alias + ".ctid < '" +
           address(slice.end) + "'";
}

std::string first_row(Slice slice) {
    return address(slice.begin);
}

}  // namespace crmsync
