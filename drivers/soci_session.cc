#include "soci_session.h"

#include <list>

namespace ipcm::drivers {
namespace {

/// The values of one statement, kept until the statement is done, because SOCI holds pointers to them.
struct Given {
  soci::indicator present = soci::i_ok;
  std::string text;
  long long integer = 0;
  double real = 0;
  std::unique_ptr<soci::blob> blob;
};

struct Taken {
  soci::indicator present = soci::i_null;
  std::string text;
  long long integer = 0;
  double real = 0;
};

std::string without(std::string text, const std::string& secret) {
  if (secret.empty()) return text;
  for (auto at = text.find(secret); at != std::string::npos; at = text.find(secret, at))
    text.replace(at, secret.size(), "***"), at += 3;
  return text;
}

}  // namespace

std::string words_of(const soci::soci_error& error) {
  std::string words = error.get_error_message();
  for (char& c : words)
    if (c == '\n' || c == '\r' || c == '\t') c = ' ';
  while (words.ends_with(' ')) words.pop_back();
  return words;
}

Failure failure_to_open(const std::string& secret) {
  try {
    throw;
  } catch (const soci::soci_error& error) {
    return {Failure::Kind::lost, without(words_of(error), secret)};
  } catch (const std::exception& error) {
    return {Failure::Kind::other, without(error.what(), secret)};
  }
}

std::string quoted_parameters(const std::map<std::string, std::string>& parameters) {
  std::string text;
  for (const auto& [key, value] : parameters) {
    text.append(text.empty() ? "" : " ").append(key).append("='");
    for (const char c : value) {
      if (c == '\'' || c == '\\') text.push_back('\\');
      text.push_back(c);
    }
    text.push_back('\'');
  }
  return text;
}

Failure SociSession::attempt(const std::function<void()>& what) noexcept {
  try {
    what();
    return {};
  } catch (const soci::soci_error& error) {
    return {kind_of(error), words_of(error)};
  } catch (const std::exception& error) {
    return {Failure::Kind::other, error.what()};
  }
}

Failure SociSession::begin() noexcept {
  return attempt([&] { soci_.begin(); });
}
Failure SociSession::commit() noexcept {
  return attempt([&] { soci_.commit(); });
}
void SociSession::rollback() noexcept {
  (void)attempt([&] { soci_.rollback(); });
}

Result SociSession::run(const std::string& statement, const Values& given,
                        const std::vector<Column>& columns) noexcept {
  Result result;
  result.failure = attempt([&] {
    std::list<Given> values;
    std::vector<Taken> row(columns.size());
    soci::statement prepared(soci_);
    prepared.alloc();
    for (const Value& value : given) {
      Given& one = values.emplace_back();
      if (std::holds_alternative<std::monostate>(value)) {
        one.present = soci::i_null;
        prepared.exchange(soci::use(one.text, one.present));
      } else if (const auto* integer = std::get_if<std::int64_t>(&value)) {
        one.integer = *integer;
        prepared.exchange(soci::use(one.integer));
      } else if (const auto* real = std::get_if<double>(&value)) {
        one.real = *real;
        prepared.exchange(soci::use(one.real));
      } else if (const auto* text = std::get_if<std::string>(&value)) {
        if (text->find('\0') != std::string::npos)
          throw soci::soci_error("a text with a NUL in it was refused");
        one.text = *text;
        prepared.exchange(soci::use(one.text));
      } else if (const auto* blob = std::get_if<Blob>(&value)) {
        if (has_plain_blobs()) {
          one.blob = std::make_unique<soci::blob>(soci_);
          one.blob->write(0, blob->bytes.data(), blob->bytes.size());
          prepared.exchange(soci::use(*one.blob));
        } else {
          one.text = write_blob(blob->bytes);
          prepared.exchange(soci::use(one.text));
        }
      }
    }
    for (std::size_t i = 0; i < columns.size(); ++i) {
      switch (columns[i]) {
        case Column::integer:
          prepared.exchange(soci::into(row[i].integer, row[i].present));
          break;
        case Column::real:
          prepared.exchange(soci::into(row[i].real, row[i].present));
          break;
        case Column::text:
        case Column::blob:
          prepared.exchange(soci::into(row[i].text, row[i].present));
          break;
      }
    }
    prepared.prepare(statement, soci::details::st_one_time_query);
    prepared.define_and_bind();
    bool there = prepared.execute(true);
    if (columns.empty()) {
      result.affected = prepared.get_affected_rows();
      return;
    }
    for (; there; there = prepared.fetch()) {
      Values& values_of_row = result.rows.emplace_back();
      for (std::size_t i = 0; i < columns.size(); ++i) {
        Taken& one = row[i];
        if (one.present != soci::i_ok)
          values_of_row.emplace_back(std::monostate());
        else if (columns[i] == Column::integer)
          values_of_row.emplace_back(std::int64_t{one.integer});
        else if (columns[i] == Column::real)
          values_of_row.emplace_back(one.real);
        else if (columns[i] == Column::text)
          values_of_row.emplace_back(one.text);
        else
          values_of_row.emplace_back(Blob{read_blob(std::move(one.text))});
      }
    }
  });
  if (result.failure) result.rows.clear();
  return result;
}

}  // namespace ipcm::drivers
