// The engine's promises under random histories: whatever gets lost, fails or moves, every task
// comes back as exactly one outcome, no item is ever doubled, nothing lies forgotten and nothing
// spins.
//
// CRMSYNC_SEED=n repeats one history; CRMSYNC_HISTORIES=n tries more of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <sstream>

#include "sync/engine.h"
#include "sync/jitter.h"
#include "sync_exchange.h"

namespace crmsync::sync {
namespace {

using exchange::Disposition;
using exchange::Failure;
using exchange::Scope;
using namespace std::chrono_literals;

// What the worker's tables hold of one record in one mailbox.
struct Copy {
    std::optional<exchange::ItemReference> item;
    bool vanished = false;
    bool unlinking = false;  // may have lost its stamp although that was never heard of
    int under_way = 0;
    std::string value;
};

struct Mailbox {
    MailboxDescription description;
    bool troubled = false;
    bool disabled = false;
    Clock::time_point next_attempt{};
    std::map<std::string, Copy> copies;
};

struct UnderWay {
    Sending sending;
    std::optional<exchange::Answer> executed;  // else it reaches the server only now
};

class History {
  public:
    explicit History(unsigned seed) : random_(seed) {
        jitter_source().seed(seed);
        server_.page_size = pick(2, 6);  // pages of one item cannot overlap
        for (const char* target : {"one", "two"}) {
            engine_.set_target(target, pick(1, 5));
        }
        for (int link = 1; link <= 2; ++link) {
            for (int i = 0; i < 4; ++i) {
                add_mailbox(link, i % 2 == 0 ? "one" : "two", "m" + std::to_string(i));
            }
        }
    }

    void run() {
        for (int step = 0; step < 150; ++step) {
            do_something();
            take_results();
            check();
            if (testing::Test::HasFailure()) {
                return;
            }
        }
        calm_ = true;
        come_to_rest();
    }

  private:
    int pick(int from, int to) { return std::uniform_int_distribution<int>(from, to)(random_); }
    bool chance(int percent) { return pick(1, 100) <= percent; }

    void add_mailbox(int link, const std::string& target, const std::string& address) {
        const int id = static_cast<int>(mailboxes_.size()) + 1;
        Mailbox& mailbox = mailboxes_[id];
        mailbox.description = test::mailbox_description(id, target, address);
        mailbox.description.link = link;
        mailbox.description.folder_name = link == 1 ? "" : "CRM";
        mailbox.description.stamp_prefix = "instance/link" + std::to_string(link) + "/";
        mailbox.description.policy.on_target_delete =
            chance(30) ? OnTargetDelete::unlink : OnTargetDelete::recreate;
    }

    void do_something() {
        switch (pick(1, 8)) {
            case 1:
            case 2:
                add_tasks(pick(1, 12));
                break;
            case 3:
            case 4:
                send();
                break;
            case 5:
            case 6:
                answer_one();
                break;
            case 7:
                wait();
                break;
            default:
                meddle();
        }
    }

    // ---- the worker's part ----

    bool available(const Mailbox& mailbox) const {
        return !mailbox.disabled && now_ >= mailbox.next_attempt &&
               engine_.available(mailbox.description.target, now_);
    }

    void add_tasks(int count) {
        for (int i = 0; i < count; ++i) {
            Mailbox& mailbox = mailboxes_.at(pick(1, static_cast<int>(mailboxes_.size())));
            add_task(mailbox, "r" + std::to_string(pick(1, 9)));
        }
    }

    void add_task(Mailbox& mailbox, const std::string& record) {
        Copy& copy = mailbox.copies[record];
        // Now and then one is added although the target or the mailbox is known not to work.
        if (copy.under_way > 0 || copy.vanished || (!available(mailbox) && !chance(5))) {
            return;
        }
        const std::string& prefix = mailbox.description.stamp_prefix;
        copy.value = !calm_ && chance(5) ? "poison" : "v" + std::to_string(++last_value_);
        Task task{};
        if (!copy.item) {
            task = test::create_task(prefix, record, copy.value);
        } else if (calm_ || chance(60)) {
            task = test::update_task(prefix, record, *copy.item, copy.value);
        } else {
            task =
                test::item_task(chance(60) ? Action::remove : Action::unlink, record, *copy.item);
        }
        task.fresh = chance(30);
        copy.unlinking |= task.action == Action::unlink;
        ++copy.under_way;
        ++added_;
        MailboxDescription description = mailbox.description;
        description.troubled = mailbox.troubled;
        engine_.set_mailbox(description);
        engine_.add(description.id, std::move(task), now_);
    }

    void take_results() {
        for (const Outcome& outcome : engine_.take_outcomes()) {
            Copy& copy = mailboxes_.at(outcome.mailbox).copies[outcome.record];
            if (outcome.result == Result::found) {
                if (!copy.item && !copy.vanished) {
                    copy.item = outcome.item;
                }
                continue;
            }
            ++settled_;
            ASSERT_EQ(copy.under_way, 1) << "outcomes for " << outcome.record;
            --copy.under_way;
            switch (outcome.result) {
                case Result::written:
                    ASSERT_FALSE(outcome.item.id.empty());
                    copy.item = outcome.item;
                    check_written(mailboxes_.at(outcome.mailbox), outcome);
                    break;
                case Result::removed:
                case Result::unlinked:
                    copy.item.reset();
                    copy.unlinking = false;
                    break;
                case Result::vanished:
                    copy.vanished = true;
                    break;
                default:
                    break;
            }
        }
        for (const MailboxChange& change : engine_.take_mailbox_changes()) {
            Mailbox& mailbox = mailboxes_.at(change.mailbox);
            mailbox.troubled = change.failure.has_value();
            mailbox.disabled = change.disabled;
            mailbox.next_attempt = now_ + change.retry_after;
            if (change.failure) {
                EXPECT_GT(change.retry_after, 0ms);
                EXPECT_GT(change.attempts, 0);
            }
        }
        for (const TargetChange& change : engine_.take_target_changes()) {
            (void)change;
        }
    }

    void check_written(const Mailbox& mailbox, const Outcome& outcome) {
        const auto* stored =
            server_.item_by_id(mailbox.description.account.mailbox, outcome.item.id);
        if (stored != nullptr) {
            if (!mailbox.copies.at(outcome.record).unlinking) {
                EXPECT_EQ(stored->stamp, outcome.desired->stamp);
            }
            EXPECT_EQ(stored->values.at("company"), *outcome.desired->values[0]);
        }
    }

    // ---- the network's part ----

    void send() {
        for (int i = pick(1, 4); i > 0; --i) {
            auto sending = engine_.next(now_);
            if (!sending) {
                return;
            }
            ++requests_;
            const auto place = std::make_pair(sending->target, sending->account.mailbox);
            ASSERT_TRUE(busy_.insert(place).second) << "two requests in " << place.second;
            UnderWay& one = under_way_.emplace_back(UnderWay{std::move(*sending), {}});
            if (chance(50)) {
                one.executed = execute(one.sending);
            }
        }
    }

    void answer_one() {
        if (under_way_.empty()) {
            return;
        }
        const int place = pick(0, static_cast<int>(under_way_.size()) - 1);
        UnderWay one = std::move(under_way_[static_cast<std::size_t>(place)]);
        under_way_.erase(under_way_.begin() + place);
        busy_.erase({one.sending.target, one.sending.account.mailbox});
        exchange::Answer answer = one.executed ? std::move(*one.executed) : execute(one.sending);
        if (!calm_ && !answer.failure && chance(12)) {
            answer = lost();
        }
        engine_.answer(one.sending.id, std::move(answer), now_);
    }

    static exchange::Answer failed(Failure failure) {
        exchange::Answer answer;
        answer.failure = std::move(failure);
        return answer;
    }

    exchange::Answer lost() {
        return failed(
            {.disposition = chance(50) ? Disposition::back_off : Disposition::shrink_batch,
             .code = "CONNECTION",
             .message = "lost",
             .may_have_happened = true,
             .scope = chance(70) ? Scope::request : Scope::mailbox});
    }

    exchange::Answer not_executed() {
        switch (pick(1, 9)) {
            case 1:
                return failed({.disposition = Disposition::back_off,
                               .code = "CONNECT",
                               .message = "no",
                               .scope = Scope::target});
            case 2:
            case 3:
                return failed({.disposition = Disposition::retry_later,
                               .code = "HTTP-503",
                               .message = "busy",
                               .retry_after = std::chrono::milliseconds(pick(0, 60'000))});
            case 4:
                return chance(30) ? failed({.disposition = Disposition::credentials,
                                            .code = "HTTP-401",
                                            .message = "no"})
                                  : failed({.disposition = Disposition::target_broken,
                                            .code = "HTTP-404",
                                            .message = "no"});
            case 5:
                return failed(
                    test::item_failure(Disposition::mailbox_disabled, "ErrorNonExistentMailbox"));
            case 6:
                return failed(test::item_failure(Disposition::resync, "ErrorInvalidSyncStateData"));
            case 7:
                return failed(test::item_failure(Disposition::folder_gone, "ErrorFolderNotFound"));
            case 8:
                return failed(
                    test::item_failure(chance(50) ? Disposition::item_gone : Disposition::reread,
                                       "ErrorOfTheRequest"));
            default:
                return failed(test::item_failure(Disposition::bisect, "ErrorInternalServerError"));
        }
    }

    static std::size_t items_in(const exchange::Operation& operation) {
        if (const auto* create = std::get_if<exchange::CreateItems>(&operation)) {
            return create->items.size();
        }
        if (const auto* update = std::get_if<exchange::UpdateItems>(&operation)) {
            return update->items.size();
        }
        return 0;
    }

    static bool poisoned(const exchange::Operation& operation) {
        const auto bad = [](const auto& item) {
            const record::Fields& fields = item.fields;
            return !fields.empty() && fields[0].value == "poison";
        };
        if (const auto* create = std::get_if<exchange::CreateItems>(&operation)) {
            return std::any_of(create->items.begin(), create->items.end(), bad);
        }
        if (const auto* update = std::get_if<exchange::UpdateItems>(&operation)) {
            return std::any_of(update->items.begin(), update->items.end(), bad);
        }
        return false;
    }

    // Carries out the first `count` items of a create only.
    exchange::Answer execute_part(const Sending& sending, std::size_t count) {
        exchange::CreateItems part = std::get<exchange::CreateItems>(sending.operation);
        part.items.resize(count);
        server_.execute(sending.account, part);
        return lost();
    }

    exchange::Answer execute(const Sending& sending) {
        if (poisoned(sending.operation)) {
            return failed(test::item_failure(Disposition::bisect, "ErrorSchemaValidation"));
        }
        if (calm_) {
            return server_.execute(sending.account, sending.operation);
        }
        if (chance(12)) {
            return not_executed();
        }
        const auto* create = std::get_if<exchange::CreateItems>(&sending.operation);
        if (create != nullptr && chance(8)) {
            return execute_part(
                sending, static_cast<std::size_t>(pick(0, static_cast<int>(create->items.size()))));
        }
        exchange::Answer answer = server_.execute(sending.account, sending.operation);
        if (answer.failure) {
            return answer;
        }
        if (items_in(sending.operation) > 0 && chance(5)) {
            answer.items.pop_back();  // answers fewer items than were asked for
            return answer;
        }
        if (chance(3)) {
            return failed(
                test::item_failure(Disposition::bisect, "ErrorInternalServerError", true));
        }
        if (items_in(sending.operation) > 0 && chance(20)) {
            // Carried out, but the server says of some that it does not know.
            for (exchange::ItemAnswer& item : answer.items) {
                if (!item.failure && chance(30)) {
                    item = {};
                    item.failure = test::item_failure(
                        chance(50) ? Disposition::item_failed : Disposition::back_off,
                        "ErrorInternalServerTransientError", true);
                }
            }
        }
        return answer;
    }

    // ---- the users' and the administrator's part ----

    void meddle() {
        const int id = pick(1, static_cast<int>(mailboxes_.size()));
        Mailbox& mailbox = mailboxes_.at(id);
        const std::string& address = mailbox.description.account.mailbox;
        auto& folders = server_.mailbox(address).folders;
        const auto folder = folders.find(mailbox.description.folder_name);
        const bool any = folder != folders.end() && !folder->second.items.empty();
        const int place = any ? pick(0, static_cast<int>(folder->second.items.size()) - 1) : 0;
        switch (pick(1, 9)) {
            case 1:
            case 2:
                if (any) {
                    server_.change(folder->second.items[static_cast<std::size_t>(place)]);
                }
                break;
            case 3:
                if (any) {
                    server_.move(folder->second, static_cast<std::size_t>(place));
                }
                break;
            case 4:
                if (any) {
                    folder->second.items.erase(folder->second.items.begin() + place);
                }
                break;
            case 5:
                if (chance(20)) {
                    server_.remove_folder(address, "CRM");
                }
                break;
            case 6:
                engine_.retry(mailbox.description.target);
                break;
            case 7:
                well(mailbox);
                break;
            case 8:
                if (chance(30)) {
                    engine_.release(mailbox.description.target,
                                    test::item_failure(Disposition::back_off, "PAUSED"));
                }
                break;
            default:
                engine_.set_target(mailbox.description.target, pick(1, 5));
        }
    }

    void well(Mailbox& mailbox) {
        mailbox.troubled = mailbox.disabled = false;
        mailbox.next_attempt = {};
        MailboxDescription description = mailbox.description;
        engine_.set_mailbox(description);
    }

    // ---- time and what must hold ----

    void wait() {
        if (const auto next = engine_.next_time(); next && chance(70)) {
            now_ = std::max(now_, *next);
        } else {
            now_ += std::chrono::milliseconds(pick(1, 20'000));
        }
    }

    void check() {
        EXPECT_EQ(added_ - settled_, static_cast<long>(engine_.queued()));
        EXPECT_EQ(under_way_.size(), engine_.in_flight());
        const auto twins = server_.duplicates();
        EXPECT_TRUE(twins.empty()) << twins.front();
        if (!under_way_.empty() || engine_.queued() == 0) {
            return;
        }
        // Nothing is under way: then time alone must bring what is queued on.
        const auto next = engine_.next_time();
        ASSERT_TRUE(next) << engine_.queued() << " tasks lie with nothing to wake them";
        auto copy = engine_;
        EXPECT_EQ(*next <= now_, copy.next(now_).has_value()) << "wakes for nothing, or too late";
        EXPECT_TRUE(copy.next(std::max(*next, now_)) || *next <= now_);
    }

    void come_to_rest() {
        while (!under_way_.empty()) {
            answer_one();
        }
        take_results();
        for (const char* target : {"one", "two"}) {
            engine_.retry(target);
        }
        for (auto& [id, mailbox] : mailboxes_) {
            well(mailbox);
        }
        const long before = requests_;
        for (int round = 0; round < 2; ++round) {
            for (auto& [id, mailbox] : mailboxes_) {
                for (int record = 1; record <= 9; ++record) {
                    add_task(mailbox, "r" + std::to_string(record));
                }
            }
            while ((engine_.queued() > 0 || !under_way_.empty()) && requests_ < before + 5000) {
                send();
                if (under_way_.empty()) {
                    const auto next = engine_.next_time();
                    ASSERT_TRUE(next) << engine_.queued() << " tasks are left lying";
                    now_ = std::max(now_, *next);
                }
                answer_one();
                take_results();
                check();
                if (testing::Test::HasFailure()) {
                    return;
                }
            }
        }
        EXPECT_LT(requests_, before + 5000) << "it never comes to rest";
        EXPECT_EQ(added_, settled_);
        EXPECT_FALSE(engine_.next(now_ + 24h));
        for (auto& [id, mailbox] : mailboxes_) {
            for (auto& [record, copy] : mailbox.copies) {
                EXPECT_EQ(copy.under_way, 0) << record;
                if (!copy.vanished) {
                    ASSERT_TRUE(copy.item) << record;
                    EXPECT_NE(
                        server_.item_by_id(mailbox.description.account.mailbox, copy.item->id),
                        nullptr)
                        << record;
                }
            }
        }
    }

    std::minstd_rand random_;
    test::FakeExchange server_;
    Engine engine_;
    Clock::time_point now_{1h};
    std::map<int, Mailbox> mailboxes_;
    std::vector<UnderWay> under_way_;
    std::set<std::pair<std::string, std::string>> busy_;
    bool calm_ = false;
    long added_ = 0;
    long settled_ = 0;
    long requests_ = 0;
    int last_value_ = 0;
};

unsigned from_environment(const char* name, unsigned otherwise) {
    const char* text = std::getenv(name);
    return text != nullptr ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : otherwise;
}

// In parts, which may run beside each other.
constexpr unsigned parts = 4;
class Histories : public ::testing::TestWithParam<unsigned> {};

TEST_P(Histories, KeepEveryPromise) {
    const unsigned only = from_environment("CRMSYNC_SEED", 0);
    const unsigned first = only > 0 ? only : 1 + GetParam();
    const unsigned last = only > 0 ? only : from_environment("CRMSYNC_HISTORIES", 2000);
    for (unsigned seed = first; seed <= last; seed += parts) {
        History(seed).run();
        ASSERT_FALSE(HasFailure()) << "repeat with CRMSYNC_SEED=" << seed;
    }
}
INSTANTIATE_TEST_SUITE_P(Parts, Histories, ::testing::Range(0U, parts));

}  // namespace
}  // namespace crmsync::sync
