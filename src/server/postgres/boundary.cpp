#include "server/postgres/boundary.h"

#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>

extern "C" {
#include "miscadmin.h"
}

#include "server/postgres/encoding.h"
#include "server/postgres/preload.h"

namespace crmsync::pg {

std::string Error::code() const {
    std::string text(5, '0');
    int rest = sqlstate;
    for (char& c : text) {
        c = static_cast<char>(PGUNSIXBIT(rest));
        rest >>= 6;
    }
    return text;
}

bool interrupt_pending() noexcept {
    return InterruptPending != 0;
}

void check_interrupts() {
    if (interrupt_pending()) {
        guard([] { CHECK_FOR_INTERRUPTS(); });
    }
}

namespace detail {
namespace {

// Counts guarded calls for crmsync.fail_guarded_call; the count starts anew when the setting
// changes.
int guarded_calls = 0;
int failing_call = 0;

std::string text_of(const char* text) {
    return text == nullptr ? std::string() : text;
}

// Before there is an object that an error on the way would leave behind.
void convert(ErrorData* data) {
    for (char** text :
         {&data->message, &data->detail, &data->hint, &data->context, &data->schema_name,
          &data->table_name, &data->column_name, &data->constraint_name}) {
        *text = const_cast<char*>(to_utf8(*text));
    }
}

Error error_of(const ErrorData* data) {
    Error error;
    error.sqlstate = data->sqlerrcode;
    error.message = text_of(data->message);
    error.detail = text_of(data->detail);
    error.hint = text_of(data->hint);
    error.context = text_of(data->context);
    error.schema = text_of(data->schema_name);
    error.table = text_of(data->table_name);
    error.column = text_of(data->column_name);
    error.constraint = text_of(data->constraint_name);
    return error;
}

}  // namespace

void fail_if_asked() {
    const int wanted = preload().fail_guarded_call();
    if (wanted == 0) {
        failing_call = 0;
        return;
    }
    if (wanted != failing_call) {
        failing_call = wanted;
        guarded_calls = 0;
    }
    if (++guarded_calls == wanted) {
        ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
                        errmsg("guarded call %d fails as crmsync.fail_guarded_call asks", wanted)));
    }
}

void throw_pending(MemoryContext context) {
    // CopyErrorData allocates in the current context, which must not be ErrorContext. If it runs
    // out of memory itself, the error goes to the frame below, as in any PG_CATCH.
    MemoryContextSwitchTo(context);
    ErrorData* data = CopyErrorData();
    FlushErrorState();
    convert(data);
    const std::unique_ptr<ErrorData, decltype(&FreeErrorData)> freed(data, FreeErrorData);
    throw error_of(data);
}

void exit_after_failed_cleanup() noexcept {
    // FATAL leaves through proc_exit, which never returns through our frames.
    ereport(FATAL, (errmsg("could not clean up after an error")));
    std::abort();
}

Frames save() noexcept {
    return {PG_exception_stack, error_context_stack, CurrentMemoryContext};
}

void restore(const Frames& frames) noexcept {
    PG_exception_stack = frames.exceptions;
    error_context_stack = frames.contexts;
}

}  // namespace detail

namespace {

// What is left of an exception when its object is gone. Static storage: filling it cannot fail.
struct Failure {
    int sqlstate;
    char message[2048];
    char detail[4096];
    char hint[1024];
    char context[2048];
    char schema[NAMEDATALEN];
    char table[NAMEDATALEN];
    char column[NAMEDATALEN];
    char constraint[NAMEDATALEN];
};

Failure failure;

template <std::size_t n>
void copy(char (&to)[n], const char* from, std::size_t length) noexcept {
    std::size_t cut = length < n - 1 ? length : n - 1;
    // Never end in the middle of a multi-byte character.
    while (cut < length && cut > 0 && (static_cast<unsigned char>(from[cut]) & 0xC0) == 0x80) {
        --cut;
    }
    std::memcpy(to, from, cut);
    to[cut] = '\0';
}

template <std::size_t n>
void copy(char (&to)[n], const std::string& from) noexcept {
    copy(to, from.data(), from.size());
}

void record(int sqlstate, const char* message) noexcept {
    failure.sqlstate = sqlstate;
    copy(failure.message, message, std::strlen(message));
}

void record(const Error& error) noexcept {
    record(error.sqlstate, error.message.c_str());
    copy(failure.detail, error.detail);
    copy(failure.hint, error.hint);
    copy(failure.context, error.context);
    copy(failure.schema, error.schema);
    copy(failure.table, error.table);
    copy(failure.column, error.column);
    copy(failure.constraint, error.constraint);
}

// Called in a catch block: describes the current exception in `failure`.
void record_current() noexcept {
    try {
        throw;
    } catch (const Error& error) {
        record(error);
    } catch (const UserError& error) {
        record(error.sqlstate, error.what());
        copy(failure.detail, error.detail);
        copy(failure.hint, error.hint);
    } catch (const std::bad_alloc&) {
        record(ERRCODE_OUT_OF_MEMORY, "out of memory");
    } catch (const std::invalid_argument& error) {
        record(ERRCODE_INVALID_PARAMETER_VALUE, error.what());
    } catch (const std::exception& error) {
        record(ERRCODE_INTERNAL_ERROR, error.what());
    } catch (...) {
        record(ERRCODE_INTERNAL_ERROR, "unknown C++ exception");
    }
}

int set_name(int field, const char* name) {
    return name[0] == '\0' ? 0 : err_generic_string(field, from_utf8(name));
}

// Raises what `failure` describes. Called from frames without C++ objects.
void raise() {
    const Failure& f = failure;
    ereport(ERROR, (errcode(f.sqlstate), errmsg_internal("%s", from_utf8(f.message)),
                    f.detail[0] == '\0' ? 0 : errdetail_internal("%s", from_utf8(f.detail)),
                    f.hint[0] == '\0' ? 0 : errhint("%s", from_utf8(f.hint)),
                    f.context[0] == '\0' ? 0 : errcontext("%s", from_utf8(f.context)),
                    set_name(PG_DIAG_SCHEMA_NAME, f.schema), set_name(PG_DIAG_TABLE_NAME, f.table),
                    set_name(PG_DIAG_COLUMN_NAME, f.column),
                    set_name(PG_DIAG_CONSTRAINT_NAME, f.constraint)));
}

template <class Body>
bool run(Body body) noexcept {
    failure = Failure{};
    try {
        body();
        return true;
    } catch (...) {
        record_current();
        return false;
    }
}

}  // namespace

Datum enter(FunctionCallInfo call, Datum (*body)(FunctionCallInfo)) {
    Datum result = 0;
    if (!run([&] { result = body(call); })) {
        raise();
    }
    return result;
}

void enter(void (*body)()) {
    if (!run(body)) {
        raise();
    }
}

}  // namespace crmsync::pg
