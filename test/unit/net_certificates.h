// Certificates for tests, made when needed and removed at the end.
#pragma once

#include <string>

#include "net_server.h"

namespace crmsync::test {

struct CertificateWish {
    std::string names = "DNS:localhost,IP:127.0.0.1";  // as in openssl's subjectAltName
    int valid_days = 1;                                // negative: has expired
    bool known_issuer = true;                          // false: an authority nobody has heard of
    std::string client_ca{};                           // of the resulting TlsFiles
};

// An authority and what it signs, as files in a directory of its own.
class Certificates {
  public:
    Certificates();
    ~Certificates();
    Certificates(const Certificates&) = delete;
    Certificates& operator=(const Certificates&) = delete;

    const std::string& ca_file() const { return ca_file_; }
    std::string file(const std::string& name) const { return directory_ + "/" + name; }
    TlsFiles make(const CertificateWish& wish = {});

  private:
    std::string directory_;
    std::string ca_file_;
    int made_ = 0;
    struct Authority;
    Authority* known_;
    Authority* unknown_;
};

}  // namespace crmsync::test
