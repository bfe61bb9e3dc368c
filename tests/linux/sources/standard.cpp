// The C++ library: exceptions, also across threads, streams, threads, futures, regular expressions, file system.
#include <algorithm>
#include <any>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <random>
#include <regex>
#include <shared_mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <variant>
#include <vector>

struct Tracer {
    std::string name;
    explicit Tracer(std::string n) : name(std::move(n)) {}
    ~Tracer() { std::cout << "gone: " << name << '\n'; }
};

static int deep(int level)
{
    Tracer tracer("level " + std::to_string(level));
    if (level == 0)
        throw std::out_of_range("bottom");
    return deep(level - 1) + 1;
}

static void exceptions()
{
    try {
        deep(3);
    } catch (const std::logic_error &error) {
        std::cout << "caught " << error.what() << '\n';
    }
    try {
        try {
            std::vector<int>().at(5);
        } catch (...) {
            std::throw_with_nested(std::runtime_error("outer"));
        }
    } catch (const std::exception &error) {
        std::cout << error.what() << ", nested: ";
        try {
            std::rethrow_if_nested(error);
        } catch (const std::exception &inner) {
            std::cout << (dynamic_cast<const std::out_of_range *>(&inner) != nullptr) << '\n';
        }
    }
    int caught = 0;
    for (int i = 0; i < 10000; i++) {
        try {
            throw i;
        } catch (int value) {
            caught += value == i;
        }
    }
    std::cout << caught << " exceptions\n";
    try {
        std::unique_ptr<char[]> much(new char[size_t(1) << 60]);
    } catch (const std::bad_alloc &) {
        std::cout << "bad_alloc\n";
    }
}

static void threads()
{
    std::mutex mutex;
    std::condition_variable condition;
    std::atomic<long> sum{0};
    std::vector<std::thread> workers;
    int ready = 0;
    for (int i = 0; i < 32; i++)
        workers.emplace_back([&, i] {
            {
                std::unique_lock lock(mutex);
                ready++;
                condition.notify_all();
                condition.wait(lock, [&] { return ready == 32; });
            }
            for (int j = 0; j < 1000; j++)
                sum += i * j;
        });
    for (auto &worker : workers)
        worker.join();
    std::cout << "sum " << sum << '\n';

    std::shared_mutex shared;
    std::map<int, int> map;
    std::vector<std::thread> mixed;
    for (int i = 0; i < 8; i++)
        mixed.emplace_back([&, i] {
            for (int j = 0; j < 200; j++) {
                if (j % 4 == 0) {
                    std::unique_lock lock(shared);
                    map[j] += i;
                } else {
                    std::shared_lock lock(shared);
                    (void)map.count(j);
                }
            }
        });
    for (auto &thread : mixed)
        thread.join();
    std::cout << map.size() << ' ' << map[4] << '\n';
    std::once_flag once;
    int times = 0;
    std::vector<std::thread> callers;
    for (int i = 0; i < 5; i++)
        callers.emplace_back([&] { std::call_once(once, [&] { times++; }); });
    for (auto &caller : callers)
        caller.join();
    std::cout << "once: " << times << '\n';
    static thread_local int own = 7;
    std::thread([] { own = 8; }).join();
    std::cout << "thread_local: " << own << '\n';
    std::timed_mutex timed;
    timed.lock();
    std::thread([&] { std::cout << "try_lock_for: " << timed.try_lock_for(std::chrono::milliseconds(20)) << '\n'; }).join();
    timed.unlock();
}

static void futures()
{
    auto failing = std::async(std::launch::async, []() -> int { throw std::domain_error("from another thread"); });
    try {
        failing.get();
    } catch (const std::domain_error &error) {
        std::cout << error.what() << '\n';
    }
    std::vector<std::future<long>> parts;
    for (long i = 0; i < 8; i++)
        parts.push_back(std::async(std::launch::async, [i] {
            std::vector<long> numbers(1000);
            std::iota(numbers.begin(), numbers.end(), i * 1000);
            return std::accumulate(numbers.begin(), numbers.end(), 0L);
        }));
    long sum = 0;
    for (auto &part : parts)
        sum += part.get();
    std::cout << "parts " << sum << '\n';
    std::promise<std::string> promise;
    auto future = promise.get_future();
    std::cout << "timeout " << (future.wait_for(std::chrono::milliseconds(10)) == std::future_status::timeout) << '\n';
    std::thread([&] { promise.set_value("promised"); }).join();
    std::cout << future.get() << '\n';
    std::packaged_task<int(int)> task([](int x) { return x * 2; });
    auto result = task.get_future();
    std::thread(std::move(task), 21).join();
    std::cout << result.get() << '\n';
    try {
        std::future<int> broken;
        {
            std::promise<int> lost;
            broken = lost.get_future();
        }
        broken.get();
    } catch (const std::future_error &error) {
        std::cout << (error.code() == std::future_errc::broken_promise) << '\n';
    }
}

static void streams()
{
    std::cout << std::hex << std::showbase << 255 << ' ' << std::oct << 8 << std::dec << std::noshowbase << ' ' << std::setw(8) << std::setfill('*')
              << std::fixed << std::setprecision(3) << 3.14159 << std::scientific << ' ' << 12345.678 << '\n';
    std::istringstream in("12 abc 3.5\nline two\n");
    int number;
    std::string word, rest;
    double real;
    in >> number >> word >> real;
    std::getline(in >> std::ws, rest);
    std::cout << std::defaultfloat << number << word << real << rest << in.good() << '\n';
    std::string line;
    int lines = 0;
    while (std::getline(std::cin, line))
        lines += int(line.size());
    std::cout << "from stdin: " << lines << std::endl;
    std::cerr << "to stderr\n";
}

static void regular_expressions()
{
    std::string text = "alice@example.org, bob@test.net; nobody@, x@y.z";
    std::regex expression(R"((\w+)@(\w+)\.(\w+))");
    for (std::sregex_iterator i(text.begin(), text.end(), expression), end; i != end; ++i)
        std::cout << (*i)[1] << " at " << (*i)[2] << " in " << (*i)[3] << '\n';
    std::cout << std::regex_replace(text, std::regex("[aeiou]"), "<$&>") << '\n';
    try {
        std::regex bad("(");
    } catch (const std::regex_error &error) {
        std::cout << "regex_error " << (error.code() == std::regex_constants::error_paren) << '\n';
    }
}

static void files()
{
    namespace fs = std::filesystem;
    fs::path base = "/tmp/cpp";
    fs::create_directories(base / "a" / "b");
    for (int i = 0; i < 5; i++)
        std::ofstream(base / "a" / ("file" + std::to_string(i))) << std::string(size_t(i) * 1000, 'x');
    fs::copy(base / "a", base / "copy", fs::copy_options::recursive);
    fs::create_symlink("a/file3", base / "link");
    fs::rename(base / "a" / "file1", base / "a" / "b" / "moved");
    fs::resize_file(base / "a" / "file2", 10);
    std::vector<std::string> found;
    for (auto &entry : fs::recursive_directory_iterator(base))
        found.push_back(fs::relative(entry.path(), base).string() + (entry.is_directory() ? "/" : " " + std::to_string(entry.file_size())));
    std::sort(found.begin(), found.end());
    for (auto &name : found)
        std::cout << name << '\n';
    std::cout << fs::canonical(base / "link") << fs::read_symlink(base / "link") << fs::is_empty(base / "a" / "file0") << '\n';
    fs::permissions(base / "a" / "file0", fs::perms::owner_read);
    std::cout << std::oct << int(fs::status(base / "a" / "file0").permissions()) << std::dec << '\n';
    std::error_code code;
    fs::remove(base / "a", code);
    std::cout << code.message() << '\n';
    std::cout << "removed " << fs::remove_all(base) << ", exists " << fs::exists(base) << '\n';
    try {
        fs::file_size("/none");
    } catch (const fs::filesystem_error &error) {
        std::cout << error.what() << '\n';
    }
}

int main()
{
    exceptions();
    threads();
    futures();
    streams();
    regular_expressions();
    files();
    std::mt19937_64 random(42);
    std::cout << random() << ' ' << std::uniform_int_distribution<int>(1, 6)(random) << '\n';
    std::variant<int, std::string> variant = "text";
    std::cout << std::get<std::string>(variant) << std::any_cast<int>(std::any(3)) << std::optional<int>().value_or(4) << '\n';
    auto start = std::chrono::steady_clock::now();
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    std::cout << (std::chrono::steady_clock::now() - start >= std::chrono::milliseconds(30)) << '\n';
    std::set_terminate([] { std::cout << "terminate" << std::endl; std::_Exit(9); });
    std::thread([] { throw 1; }).join();
}
