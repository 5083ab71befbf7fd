#include "preload/settings.h"

#include <fcntl.h>
#include <unistd.h>

namespace crmsync {

namespace {

bool enabled_setting = true;
char* environment_setting = nullptr;
char* secret_directory_setting = nullptr;
char* allowed_hosts_setting = nullptr;
int max_log_size_setting = 1024;      // MB
int max_history_size_setting = 1024;  // MB
int query_timeout_setting = 10000;
int long_query_timeout_setting = 1800000;
int max_create_delay_setting = 120000;
int fail_guarded_call_setting = 0;

constexpr int administrator_only = GUC_SUPERUSER_ONLY;

bool check_secret_directory(char** value, void**, GucSource) {
    if (**value == '\0' || is_absolute_path(*value))
        return true;
    GUC_check_errdetail("The directory must be given as an absolute path.");
    return false;
}

// The id that the system got when it was installed, else the host's name.
const char* machine_id() {
    static char id[256];
    if (id[0] != '\0')
        return id;
    const int file = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        const ssize_t length = read(file, id, sizeof(id) - 1);
        close(file);
        id[length > 0 ? length : 0] = '\0';
        id[strcspn(id, " \r\n")] = '\0';
    }
    if (id[0] == '\0' && gethostname(id, sizeof(id) - 1) != 0)
        strlcpy(id, "unknown", sizeof(id));
    return id;
}

}  // namespace

void define_settings() {
    DefineCustomBoolVariable("crmsync.enabled", "Whether crmsync's workers run.",
                             "Changes are recorded also while this is off.", &enabled_setting, true,
                             PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
    DefineCustomStringVariable(
        "crmsync.environment", "Name of the environment that this server belongs to.",
        "Part of the identity that must be confirmed before anything is written to a target. "
        "Empty: the machine's id.",
        &environment_setting, "", PGC_SIGHUP, administrator_only, nullptr, nullptr, nullptr);
    DefineCustomStringVariable("crmsync.secret_directory",
                               "Directory of the files that secrets given as file:NAME are in.",
                               nullptr, &secret_directory_setting, "", PGC_SIGHUP,
                               administrator_only, check_secret_directory, nullptr, nullptr);
    DefineCustomStringVariable("crmsync.allowed_hosts",
                               "Hosts that targets may point to, separated by commas.",
                               "Empty: all hosts.", &allowed_hosts_setting, "", PGC_SIGHUP,
                               GUC_LIST_INPUT, nullptr, nullptr, nullptr);
    DefineCustomIntVariable(
        "crmsync.max_log_size",
        "Size from which the change log is no longer written record by record.",
        "While the log is larger, a transaction notes only which relations it changed, and these "
        "are compared as a whole later.",
        &max_log_size_setting, 1024, 1, INT_MAX, PGC_SIGHUP, GUC_UNIT_MB, nullptr, nullptr,
        nullptr);
    DefineCustomIntVariable("crmsync.max_history_size",
                            "Size from which the history is forgotten before its time.", nullptr,
                            &max_history_size_setting, 1024, 3, INT_MAX, PGC_SIGHUP, GUC_UNIT_MB,
                            nullptr, nullptr, nullptr);
    DefineCustomIntVariable("crmsync.query_timeout",
                            "Longest time that one query of a link may take where others wait.",
                            "0: no limit.", &query_timeout_setting, 10000, 0, INT_MAX, PGC_SIGHUP,
                            GUC_UNIT_MS, nullptr, nullptr, nullptr);
    DefineCustomIntVariable(
        "crmsync.long_query_timeout",
        "Longest time that one query of a link may take in a comparison or an import.",
        "0: no limit.", &long_query_timeout_setting, 1800000, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS,
        nullptr, nullptr, nullptr);
    DefineCustomIntVariable(
        "crmsync.max_create_delay",
        "Longest time that a server may take for a create that nobody waits for any more.",
        "A mailbox where something may have been created twice is looked at again then.",
        &max_create_delay_setting, 120000, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS, nullptr, nullptr,
        nullptr);
    DefineCustomIntVariable("crmsync.fail_guarded_call",
                            "Makes the n-th guarded call from C++ into PostgreSQL fail, for tests.",
                            "0: none.", &fail_guarded_call_setting, 0, 0, INT_MAX, PGC_SUSET,
                            GUC_NOT_IN_SAMPLE | GUC_NO_SHOW_ALL, nullptr, nullptr, nullptr);
    MarkGUCPrefixReserved("crmsync");
}

bool enabled() {
    return enabled_setting;
}

const char* environment() {
    const bool set = environment_setting != nullptr && environment_setting[0] != '\0';
    return set ? environment_setting : machine_id();
}

const char* secret_directory() {
    return secret_directory_setting == nullptr ? "" : secret_directory_setting;
}

const char* allowed_hosts() {
    return allowed_hosts_setting == nullptr ? "" : allowed_hosts_setting;
}

int64 max_log_size() {
    return static_cast<int64>(max_log_size_setting) * 1024 * 1024;
}

int64 max_history_size() {
    return static_cast<int64>(max_history_size_setting) * 1024 * 1024;
}

int query_timeout() {
    return query_timeout_setting;
}

int long_query_timeout() {
    return long_query_timeout_setting;
}

int max_create_delay() {
    return max_create_delay_setting;
}

int fail_guarded_call() {
    return fail_guarded_call_setting;
}

}  // namespace crmsync
