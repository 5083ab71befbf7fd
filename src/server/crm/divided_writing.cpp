#include "server/crm/divided_writing.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>
#include <optional>
#include <random>
#include <vector>

#include "server/postgres/session.h"
#include "server/postgres/subtransaction.h"

namespace crmsync {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// Who asks for a lock and does not wait for it is refused sooner than this.
constexpr auto shortest_wait = 50ms;

// How long a row waits for a lock when others have waited in vain.
constexpr auto brief_wait = 10ms;

// So long rows are tried one by one, or as long as was lost before: who is only slow gets on. Then
// others have as much time.
constexpr auto shortest_trying = 500ms;
constexpr auto shortest_rest = 2s;

// From one long wait to the next. A lock that is always held by somebody, but by nobody for long,
// is got by waiting for it.
constexpr auto between_long_waits = 10s;

// What the rows of a link have met.
struct Hindrance {
    Clock::time_point tried_until;
    Clock::time_point rests_until;
    Clock::time_point brief_until;  // waits for locks
};

std::map<int, Hindrance> hindrances;  // by link

class Writing {
  public:
    Writing(const LinkConfiguration& link, const RowsToWrite& rows)
        : link_(link), rows_(rows), hindrance_(hindrances[link.id]) {}

    void write(std::size_t first, std::size_t count);
    void write_alone(std::size_t first, std::size_t count);

  private:
    bool is_hindered() const { return Clock::now() < hindrance_.rests_until; }
    std::optional<pg::Error> attempt(std::size_t first, std::size_t count);
    void note_loss(Clock::duration lost, bool brief, bool stuck);

    const LinkConfiguration& link_;
    const RowsToWrite& rows_;
    Hindrance& hindrance_;
    Clock::duration lost_{};
};

void Writing::write(std::size_t first, std::size_t count) {
    if (!is_hindered()) {
        const auto error = attempt(first, count);
        if (!error) {
            return;
        }
        if (count == 1) {
            rows_.refuse(first, *error);
            return;
        }
        if (!is_hindered()) {
            write(first, count / 2);
            write(first + count / 2, count - count / 2);
            return;
        }
    }
    write_alone(first, count);
}

void Writing::write_alone(std::size_t first, std::size_t count) {
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), first);
    if (is_hindered()) {
        // Not the same ones are to be left over each time.
        static std::minstd_rand random(std::random_device{}());
        std::shuffle(order.begin(), order.end(), random);
    }
    for (const std::size_t row : order) {
        if (writes_rest(link_)) {
            rows_.refuse(row, {.sqlstate = ERRCODE_LOCK_NOT_AVAILABLE,
                               .message = "other rows of " + link_.source + " took too long"});
        } else if (const auto error = attempt(row, 1)) {
            rows_.refuse(row, *error);
        }
    }
}

std::optional<pg::Error> Writing::attempt(std::size_t first, std::size_t count) {
    const auto started = Clock::now();
    const bool brief = started < hindrance_.brief_until;
    const LocalLockTimeout timeout(brief ? std::optional(brief_wait) : std::nullopt);
    auto error = pg::subtransaction([&] { rows_.write(first, count); });
    timeout.end();
    if (!error) {
        rows_.note(first, count);
        return error;
    }
    pg::check_interrupts();
    const bool too_long = error->sqlstate == ERRCODE_QUERY_CANCELED;
    if (too_long || error->sqlstate == ERRCODE_LOCK_NOT_AVAILABLE) {
        note_loss(Clock::now() - started, brief, too_long && count == 1);
    }
    return error;
}

// stuck: a row alone, and it was not for a lock. The next one may do the same.
void Writing::note_loss(Clock::duration lost, bool brief, bool stuck) {
    const auto now = Clock::now();
    lost_ += lost;
    if (!stuck && (now - lost < hindrance_.rests_until || lost_ < shortest_wait)) {
        return;
    }
    hindrance_.tried_until = now + (stuck ? 0ms : std::max<Clock::duration>(shortest_trying, lost));
    hindrance_.rests_until =
        hindrance_.tried_until + std::max<Clock::duration>(shortest_rest, lost);
    hindrance_.brief_until =
        std::max(hindrance_.brief_until,
                 hindrance_.rests_until + (brief ? Clock::duration{} : between_long_waits));
}

}  // namespace

void write_divided(const LinkConfiguration& link, const RowsToWrite& rows) {
    Writing writing(link, rows);
    if (rows.count == 0) {
        return;
    }
    if (rows.together) {
        writing.write(0, rows.count);
    } else {
        writing.write_alone(0, rows.count);
    }
}

bool writes_rest(const LinkConfiguration& link) {
    const Hindrance& hindrance = hindrances[link.id];
    const auto now = Clock::now();
    return now >= hindrance.tried_until && now < hindrance.rests_until;
}

}  // namespace crmsync
