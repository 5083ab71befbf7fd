// What went wrong with a request to a target, and what has to follow from it. The protocols (ews/,
// graph/) translate their codes into these classes; the engine in sync/ only knows the classes.
#pragma once

#include <chrono>
#include <string>

namespace crmsync::exchange {

enum class Disposition {
    retry_later,       // the server asked for a pause (see Failure::retry_after)
    back_off,          // try again with growing pauses and fewer connections
    shrink_batch,      // like back_off, and halve the batch: the request took too long
    credentials,       // 401: stop the target unless they worked before
    item_failed,       // this item only: park it with the server's words, the others go on
    item_gone,         // the item no longer exists
    reread,            // stale change key: read again, merge, write again
    bisect,            // the server refuses the request as a whole: find the item that causes it
    mailbox_disabled,  // nothing works in this mailbox, perhaps until an administrator has looked
    mailbox_full,      // until its user makes room: try again with long pauses
    folder_gone,       // find or create the folder again
    resync,            // the stored sync state is no longer valid
    target_broken  // a wrong URL, certificate, redirect or answer: stop the target, slowly retry;
                   // with the scope mailbox only a target that never worked
};

// Of whom a failed request tells something. What is true of more than is said here shows when
// others fail as well.
enum class Scope {
    request,  // perhaps only of what was in it, perhaps of all: divide it before it is sent again
    mailbox,  // of this mailbox: the others go on
    target    // of every mailbox
};

struct Failure {
    Disposition disposition;
    std::string code;  // the server's own code (ErrorItemNotFound), or HTTP-503, TLS, TIMEOUT, ...
    std::string message;  // the server's own words, cleaned, at most 1,000 bytes
    std::chrono::milliseconds retry_after{0};
    std::string correct_address{};   // for ErrorNonPrimarySmtpAddress: the address to use instead
    bool may_have_happened = false;  // the request may have been carried out: look before repeating
    Scope scope = Scope::mailbox;
    bool damaged = false;  // what was to be read will not be readable another time either
};

// True when no other mailbox of the target needs to be tried to know.
inline bool concerns_target(const Failure& failure) {
    return failure.scope == Scope::target || failure.disposition == Disposition::credentials ||
           failure.disposition == Disposition::target_broken;
}

}  // namespace crmsync::exchange
