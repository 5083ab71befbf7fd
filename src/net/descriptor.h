// A file descriptor that is closed with its owner, and the kind that one thread wakes another with.
#pragma once

namespace crmsync::net {

class Descriptor {
  public:
    explicit Descriptor(int number) : number_(number) {}
    ~Descriptor();
    Descriptor(Descriptor&& other) noexcept : number_(other.number_) { other.number_ = -1; }
    Descriptor& operator=(Descriptor&&) = delete;
    int number() const noexcept { return number_; }

  private:
    int number_;
};

// Both throw std::runtime_error when the process or the machine has no more of them.
Descriptor make_epoll();
Descriptor make_event();  // an eventfd, readable from signal() to clear()

void signal(const Descriptor& event) noexcept;
void clear(const Descriptor& event) noexcept;

}  // namespace crmsync::net
