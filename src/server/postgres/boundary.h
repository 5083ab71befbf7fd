// The one boundary between C++ and PostgreSQL.
//
// PostgreSQL reports errors with longjmp, which must not pass over a frame with live destructors;
// C++ reports them with exceptions, which must not pass through PostgreSQL's frames. So:
//
//   pg::guard(f)   calls PostgreSQL. f and whatever it calls hold nothing with a destructor; an
//                  ERROR raised in it becomes the exception pg::Error here, deeper in the stack
//                  than every object that has one.
//   pg::enter(f)   is called by PostgreSQL: every SQL function, trigger and worker main consists of
//                  it. f may throw anything; it becomes an ERROR after all C++ objects are gone.
//
// After a pg::Error nothing of the transaction's state can be used until it is rolled back, so only
// three places catch it: enter(), the worker's cycle, and pg::subtransaction.
#pragma once

#include <csetjmp>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>

// PostgreSQL 15 leaves this empty; with hidden visibility the server would not find our functions.
#ifndef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#endif

extern "C" {
#include "postgres.h"

#include "fmgr.h"
#include "utils/elog.h"
#include "utils/memutils.h"
}

namespace crmsync::pg {

// An ERROR of PostgreSQL with all that it said. Not derived from std::exception, so that no broad
// catch in library code can swallow it.
struct Error {
    int sqlstate = ERRCODE_INTERNAL_ERROR;
    std::string message{};
    std::string detail{};
    std::string hint{};
    std::string context{};
    std::string schema{};
    std::string table{};
    std::string column{};
    std::string constraint{};

    // The five characters of the SQLSTATE.
    std::string code() const;
};

// Something that a user should read, with SQLSTATE and hint. Thrown by our own code.
struct UserError : std::runtime_error {
    UserError(int state, const std::string& message, std::string more = {}, std::string what = {})
        : std::runtime_error(message),
          sqlstate(state),
          detail(std::move(more)),
          hint(std::move(what)) {}
    int sqlstate;
    std::string detail;
    std::string hint;
};

// True when PostgreSQL has a signal to process. Never raises.
bool interrupt_pending() noexcept;

// Lets PostgreSQL process its signals: every C++ loop that may take long calls it. Throws Error
// when the statement was cancelled; a termination ends the process here.
void check_interrupts();

namespace detail {

// Raises the error that the developer setting crmsync.fail_guarded_call asks for.
void fail_if_asked();

// Turns the pending ErrorData into an exception, back in the given memory context.
[[noreturn]] void throw_pending(MemoryContext context);

[[noreturn]] void exit_after_failed_cleanup() noexcept;

struct Frames {
    sigjmp_buf* exceptions;
    ErrorContextCallback* contexts;
    MemoryContext memory;
};

Frames save() noexcept;
void restore(const Frames& frames) noexcept;

template <class F>
void call(F& f, bool may_be_asked_to_fail = true) {
    const Frames frames = save();
    sigjmp_buf here;
    // Mask 0, as PG_TRY itself does: saving the signal mask would cost a system call.
    if (sigsetjmp(here, 0) != 0) {
        restore(frames);
        throw_pending(frames.memory);
    }
    PG_exception_stack = &here;
    if (may_be_asked_to_fail) {
        fail_if_asked();
    }
    f();
    restore(frames);
}

}  // namespace detail

// Calls PostgreSQL in f, which must hold no object with a destructor, and returns what f returns.
// Throws Error.
template <class F>
auto guard(F&& f) {
    using Result = std::invoke_result_t<F>;
    static_assert(
        std::is_trivially_destructible_v<std::remove_reference_t<F>> || std::is_reference_v<F>,
        "a guarded function captures by reference");
    if constexpr (std::is_void_v<Result>) {
        detail::call(f);
    } else {
        static_assert(std::is_trivially_copyable_v<Result>, "guard returns plain data only");
        Result result{};
        auto store = [&] { result = f(); };
        detail::call(store);
        return result;
    }
}

// The same for what cleans up after an error and cannot fail itself: it is exempt from error
// injection, and an ERROR all the same ends the process (FATAL), since nobody could go on from
// there.
template <class F>
void guard_cleanup(F&& f) noexcept {
    try {
        detail::call(f, false);
    } catch (...) {
        detail::exit_after_failed_cleanup();
    }
}

// Runs body, which may throw, on behalf of PostgreSQL, and raises what it threw as an ERROR when no
// C++ object is alive any more.
Datum enter(FunctionCallInfo call, Datum (*body)(FunctionCallInfo));
void enter(void (*body)());

}  // namespace crmsync::pg

// Defines the SQL-callable C function `name`, which runs body(FunctionCallInfo) through enter().
#define CRMSYNC_SQL_FUNCTION(name, body)         \
    extern "C" {                                 \
    PGDLLEXPORT Datum name(PG_FUNCTION_ARGS);    \
    PG_FUNCTION_INFO_V1(name);                   \
    Datum name(PG_FUNCTION_ARGS) {               \
        return crmsync::pg::enter(fcinfo, body); \
    }                                            \
    }                                            \
    static_assert(true)
