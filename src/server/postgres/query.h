// SQL through SPI. One query is one guarded unit: it is planned (once per process and text), run
// and its rows are put into a memory context of their own; C++ then reads them from there.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "server/postgres/parameters.h"

extern "C" {
#include "utils/jsonb.h"
}

namespace crmsync::pg {

// The rows of a query, until the object goes.
class Rows {
  public:
    Rows() = default;
    Rows(Rows&& other) noexcept { swap(other); }
    Rows& operator=(Rows&& other) noexcept {
        swap(other);
        return *this;
    }
    ~Rows();

    // Number of rows returned, or affected by a statement that returns none.
    std::uint64_t size() const noexcept { return processed_; }
    bool empty() const noexcept { return processed_ == 0; }
    int columns() const noexcept { return columns_; }

    bool is_null(std::uint64_t row, int column) const noexcept;
    // Valid as long as the Rows. Empty for NULL.
    std::string_view text(std::uint64_t row, int column) const noexcept;
    std::optional<std::string> optional_text(std::uint64_t row, int column) const;
    std::string string(std::uint64_t row, int column) const {
        return std::string(text(row, column));
    }
    // Columns that hold integers, booleans (as 0 and 1) or oids. 0 for NULL.
    std::int64_t integer(std::uint64_t row, int column) const noexcept;
    bool boolean(std::uint64_t row, int column) const noexcept { return integer(row, column) != 0; }
    // The integer that a text begins with; `otherwise` where there is none.
    std::int64_t number_or(std::uint64_t row, int column, std::int64_t otherwise) const noexcept;
    // Any column as text for people.
    std::string display(std::uint64_t row, int column) const;
    // A column of type jsonb, for the functions of server/postgres/jsonb_fields.h. Null for NULL.
    const Jsonb* jsonb(std::uint64_t row, int column) const noexcept;

    struct Cell {
        const char* data;     // null for NULL, `is_number` for an integer
        std::int64_t number;  // length of the text, or the integer itself
        static constexpr char is_number[] = "";
    };

  private:
    friend Rows query(std::string_view, std::span<const Parameter>, struct QueryOptions);
    void swap(Rows& other) noexcept;

    MemoryContext context_ = nullptr;
    const Cell* cells_ = nullptr;
    int columns_ = 0;
    std::uint64_t processed_ = 0;
};

struct QueryOptions {
    // Run as this role, security-restricted, with row_security off and a pinned search_path, so
    // that what a link's owner wrote can do no more than its owner. InvalidOid: as the worker
    // itself.
    Oid owner = InvalidOid;
    // Do not keep the plan: for statements that run once.
    bool once = false;
    // As an owner, in a worker: no longer than this. Zero: what the settings say.
    std::chrono::milliseconds longest{0};
    // Stop after so many rows. 0: all.
    std::uint64_t most_rows = 0;
};

// From now on, in a process that nobody else waits for: an owner's query may take as long as the
// setting crmsync.long_query_timeout says.
void allow_long_queries() noexcept;

// Runs one statement in the current transaction. Throws Error.
Rows query(std::string_view sql, std::span<const Parameter> parameters, QueryOptions options = {});

template <class... P>
Rows query(std::string_view sql, const P&... parameters) {
    const Parameter list[] = {Parameter(parameters)..., Parameter()};
    return query(sql, std::span<const Parameter>(list, sizeof...(P)));
}

template <class... P>
Rows query_as(Oid owner, std::string_view sql, const P&... parameters) {
    const Parameter list[] = {Parameter(parameters)..., Parameter()};
    return query(sql, std::span<const Parameter>(list, sizeof...(P)), {.owner = owner});
}

}  // namespace crmsync::pg
