// From libcurl's code for a failed transfer to what the caller needs: the kind, and a message that
// says how far the request had come.
#pragma once

#include "net/client.h"
#include "net/curl.h"

namespace crmsync::net {

enum class Phase { resolving, connecting, securing, sending, waiting, receiving };

// How far a transfer had come, as its callbacks have seen it.
struct Progress {
    bool securing = false;  // TLS had begun
    bool started = false;   // the connection stood and the request itself had begun
    bool answered = false;  // part of an answer had arrived
};

// `body_size`: bytes that the request was to send.
Phase reached_phase(CURL* easy, const Progress& progress, std::size_t body_size);

// `code` is not CURLE_OK; `detail` is libcurl's own text. A time-out before the connection stood is
// of the kind resolve or connect: a smaller request would not have helped.
TransportError transport_error(CURL* easy, CURLcode code, Phase phase, const std::string& detail);

}  // namespace crmsync::net
