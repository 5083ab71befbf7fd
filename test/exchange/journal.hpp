// The record of all requests: in memory for tests, in a file for people, bodies where asked for.
#pragma once

#include <nlohmann/json.hpp>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace stand_in {

struct Entry {
    std::uint64_t number = 0;  ///< of the request, from 1
    double at_ms = 0;          ///< since the server's start
    double took_ms = 0;
    std::string operation, mailbox;
    std::size_t items = 0;
    int status = 0;
    std::size_t bytes_in = 0, bytes_out = 0;
    std::uint64_t connection = 0;
    std::string anchor;  ///< X-AnchorMailbox, empty when it did not come
    std::string fault;   ///< the injected fault, empty when none
    std::string code;    ///< fault code of the answer, empty when none
};

class Journal {
  public:
    /// Empty names: no file, no bodies. Throws std::runtime_error when the file cannot be written.
    Journal(const std::string& file, std::string bodies);

    void add(const Entry& entry);
    /// Keeps a request's or an answer's body in a file, when bodies are kept.
    void keep(std::uint64_t number, const char* suffix, const std::string& body) const;
    /// Whether bodies are kept, where there is a directory for them.
    void keep_bodies(bool keep) { keep_bodies_ = keep; }

    /// The last entries (at most 10000), oldest first; `since` skips up to that request number.
    nlohmann::json entries(std::uint64_t since) const;
    nlohmann::json counters() const;
    void clear();

  private:
    struct Totals {
        std::uint64_t requests = 0, items = 0;
    };
    struct CloseFile {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };

    mutable std::mutex mutex_;
    std::unique_ptr<std::FILE, CloseFile> file_;
    std::string bodies_;
    std::atomic<bool> keep_bodies_{true};
    std::deque<Entry> recent_;
    std::map<std::string, Totals> totals_;
    std::map<int, std::uint64_t> statuses_;
};

}  // namespace stand_in
