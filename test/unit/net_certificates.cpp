#include "net_certificates.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

namespace crmsync::test {

namespace {

constexpr long day = 24 * 60 * 60;

struct Free {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
    void operator()(X509* certificate) const { X509_free(certificate); }
    void operator()(X509_EXTENSION* extension) const { X509_EXTENSION_free(extension); }
};
using Key = std::unique_ptr<EVP_PKEY, Free>;
using Certificate = std::unique_ptr<X509, Free>;

void set_name(X509_NAME* name, const std::string& text) {
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(text.c_str()), -1, -1, 0);
}

void extend(X509* certificate, int what, const std::string& value) {
    std::unique_ptr<X509_EXTENSION, Free> extension(
        X509V3_EXT_conf_nid(nullptr, nullptr, what, value.c_str()));
    X509_add_ext(certificate, extension.get(), -1);
}

Certificate unsigned_certificate(EVP_PKEY* key, const std::string& name, long number, long days) {
    Certificate certificate(X509_new());
    X509_set_version(certificate.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), number);
    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -10 * day);
    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), days * day);
    X509_set_pubkey(certificate.get(), key);
    set_name(X509_get_subject_name(certificate.get()), name);
    return certificate;
}

void write(const std::string& path, X509* certificate, EVP_PKEY* key) {
    FILE* file = std::fopen(path.c_str(), "w");
    if (certificate)
        PEM_write_X509(file, certificate);
    if (key)
        PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(file);
}

}  // namespace

struct Certificates::Authority {
    explicit Authority(const std::string& name)
        : key(EVP_EC_gen("P-256")), certificate(unsigned_certificate(key.get(), name, 1, 2)) {
        X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get()));
        extend(certificate.get(), NID_basic_constraints, "critical,CA:TRUE");
        X509_sign(certificate.get(), key.get(), EVP_sha256());
    }
    Key key;
    Certificate certificate;
};

Certificates::Certificates()
    : known_(new Authority("crmsync test authority")), unknown_(new Authority("nobody")) {
    std::string pattern = (std::filesystem::temp_directory_path() / "crmsync-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    ca_file_ = file("ca.pem");
    write(ca_file_, known_->certificate.get(), nullptr);
}

Certificates::~Certificates() {
    std::filesystem::remove_all(directory_);
    delete known_;
    delete unknown_;
}

TlsFiles Certificates::make(const CertificateWish& wish) {
    const std::string number = std::to_string(++made_);
    const Authority& issuer = wish.known_issuer ? *known_ : *unknown_;
    Key key(EVP_EC_gen("P-256"));
    Certificate certificate =
        unsigned_certificate(key.get(), "mail server " + number, made_ + 1, wish.valid_days);
    X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer.certificate.get()));
    extend(certificate.get(), NID_subject_alt_name, wish.names);
    X509_sign(certificate.get(), issuer.key.get(), EVP_sha256());
    TlsFiles files{file("certificate" + number + ".pem"), file("key" + number + ".pem"),
                   wish.client_ca};
    write(files.certificate, certificate.get(), nullptr);
    write(files.key, nullptr, key.get());
    return files;
}

}  // namespace crmsync::test
