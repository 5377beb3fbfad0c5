#include "wire/zstd_serializer.h"

#include <zstd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <type_traits>

#include "ipcm/error.h"
#include "os/directory.h"
#include "wire/envelope.h"
#include "wire/frame.h"
#include "wire/json_text.h"
#include "wire/number.h"

namespace ipcm::wire {
namespace {

constexpr std::string_view kZstdMagic = "\x28\xB5\x2F\xFD";
constexpr int kDefaultLevel = 3, kLowestLevel = 1, kHighestLevel = 22;
constexpr std::size_t kLargestDictionary = 16UL * 1024 * 1024;
/// The memory that is kept for the next use. More than that is released.
constexpr std::size_t kKeptMemory = 8UL * 1024 * 1024, kKeptText = 1024UL * 1024;
/// The memory that is first allocated for a decompressed text, unless its frame announces less.
constexpr std::size_t kFirstPiece = 64UL * 1024, kUsualRatio = 16;

struct Free {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  void operator()(ZSTD_CDict* dictionary) const { ZSTD_freeCDict(dictionary); }
  void operator()(ZSTD_DDict* dictionary) const { ZSTD_freeDDict(dictionary); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

/// A compressor and a decompressor, for one call at a time. Each is made when it is first needed: a program
/// that only sends needs no decompressor.
struct Workshop {
  Owned<ZSTD_CCtx> compressor;
  Owned<ZSTD_DCtx> decompressor;
  std::string text;  // decompressed
};

std::size_t expect_done(std::size_t result, const char* what) {
  if (ZSTD_isError(result) != 0) throw Error(std::string(what) + ": " + ZSTD_getErrorName(result));
  return result;
}

template <class T>
T* expect_made(T* made) {
  if (made == nullptr) throw std::bad_alloc();
  return made;
}

class ZstdSerializer final : public Serializer {
 public:
  ZstdSerializer(int level, const std::string& dictionary, const std::string& path) : level_(level) {
    if (path.empty()) return;
    for_writing_.reset(ZSTD_createCDict(dictionary.data(), dictionary.size(), level));
    for_reading_.reset(ZSTD_createDDict(dictionary.data(), dictionary.size()));
    if (!for_writing_ || !for_reading_)
      throw BusError("the dictionary '" + path + "' of serializer 'JSON::Zstd' is damaged");
  }
  ZstdSerializer(const ZstdSerializer&) = delete;
  ZstdSerializer& operator=(const ZstdSerializer&) = delete;
  ~ZstdSerializer() override { delete idle_.load(); }

  [[nodiscard]] const char* name() const override { return "JSON::Zstd"; }
  [[nodiscard]] EncodedMessage write_slices(const Message& message,
                                            const ContentSlices& content) const override {
    return {compressed(write_envelope(message, content).take()), {}, {}};
  }
  [[nodiscard]] Message read(std::string_view bytes, std::string_view receiver) const override {
    return with_text(bytes, [&](std::string_view text) { return read_envelope(text, receiver); });
  }
  [[nodiscard]] bool is_spoken(std::string_view bytes) const override {
    return bytes.starts_with(kZstdMagic) || (bytes.starts_with('{') && bytes.ends_with('}'));
  }
  [[nodiscard]] std::string write_value(std::string_view json) const override { return compressed(json); }
  [[nodiscard]] std::string read_value(std::string_view bytes) const override {
    return with_text(bytes, [](std::string_view text) { return Content::json(text).json(); });
  }

 private:
  /// Returns the idle workshop, or a new one if another thread uses it, or used it when this process was
  /// forked.
  [[nodiscard]] std::unique_ptr<Workshop> take() const {
    std::unique_ptr<Workshop> taken(idle_.exchange(nullptr));
    return taken ? std::move(taken) : std::make_unique<Workshop>();
  }
  void put_back(std::unique_ptr<Workshop> workshop) const {
    if (workshop->text.capacity() > kKeptText) std::string().swap(workshop->text);
    if (workshop->compressor && ZSTD_sizeof_CCtx(workshop->compressor.get()) > kKeptMemory)
      workshop->compressor.reset();
    if (workshop->decompressor && ZSTD_sizeof_DCtx(workshop->decompressor.get()) > kKeptMemory)
      workshop->decompressor.reset();
    delete idle_.exchange(workshop.release());
  }

  [[nodiscard]] std::string compressed(std::string_view json) const {
    if (json.size() > kLargestFrame)
      throw ProtocolError("a message of " + std::to_string(json.size()) +
                          " bytes before compression is larger than the limit of " +
                          std::to_string(kLargestFrame));
    auto workshop = take();
    if (!workshop->compressor) {
      workshop->compressor.reset(expect_made(ZSTD_createCCtx()));
      expect_done(for_writing_
                      ? ZSTD_CCtx_refCDict(workshop->compressor.get(), for_writing_.get())
                      : ZSTD_CCtx_setParameter(workshop->compressor.get(), ZSTD_c_compressionLevel, level_),
                  "zstd can't be set up");
    }
    std::string frame(ZSTD_compressBound(json.size()), '\0');
    frame.resize(expect_done(
        ZSTD_compress2(workshop->compressor.get(), frame.data(), frame.size(), json.data(), json.size()),
        "a message can't be compressed"));
    put_back(std::move(workshop));
    return frame;
  }

  template <class Use>
  std::invoke_result_t<Use, std::string_view> with_text(std::string_view bytes, Use&& use) const {
    if (!bytes.starts_with(kZstdMagic)) return use(bytes);
    auto workshop = take();
    auto result = use(inflate(*workshop, bytes));
    put_back(std::move(workshop));
    return result;
  }

  [[nodiscard]] std::string_view inflate(Workshop& workshop, std::string_view bytes) const {
    if (!workshop.decompressor) {
      workshop.decompressor.reset(expect_made(ZSTD_createDCtx()));
      if (for_reading_)
        expect_done(ZSTD_DCtx_refDDict(workshop.decompressor.get(), for_reading_.get()),
                    "zstd can't be set up");
    }
    ZSTD_DCtx* const context = workshop.decompressor.get();
    std::string& text = workshop.text;
    // With a plausible announced size, one step is enough. If it is wrong, the loop below finds that.
    const std::size_t plausible =
        std::min(std::max(kFirstPiece, bytes.size() * kUsualRatio), kLargestFrame + 1);
    const auto first = static_cast<std::size_t>(
        std::min<unsigned long long>(ZSTD_getFrameContentSize(bytes.data(), bytes.size()), plausible));
    if (text.size() < first) text.resize(first);
    ZSTD_inBuffer from{bytes.data(), bytes.size(), 0};
    ZSTD_outBuffer into{text.data(), text.size(), 0};
    for (;;) {
      const std::size_t taken = from.pos, made = into.pos;
      const std::size_t wanted = ZSTD_decompressStream(context, &into, &from);
      if (ZSTD_isError(wanted) != 0)
        throw ProtocolError(std::string("a message can't be decompressed: ") + ZSTD_getErrorName(wanted) +
                            (for_reading_ ? "; does its sender use another dictionary?" : ""));
      if (wanted == 0) break;
      if (into.pos == into.size) {
        if (text.size() > kLargestFrame)
          throw ProtocolError("a message was refused: decompressed, it is larger than the limit of " +
                              std::to_string(kLargestFrame));
        // One byte more than the limit shows whether a text is larger than the limit.
        text.resize(std::min(std::max(text.size() * 2, kFirstPiece), kLargestFrame + 1));
        into = {text.data(), text.size(), into.pos};
      } else if (from.pos == taken && into.pos == made) {
        throw ProtocolError("a message can't be decompressed: it ends too early");
      }
    }
    if (from.pos != bytes.size())
      throw ProtocolError("a message was refused: " + std::to_string(bytes.size() - from.pos) +
                          " bytes follow its zstd frame");
    if (into.pos > kLargestFrame)
      throw ProtocolError("a message was refused: decompressed, it is larger than the limit of " +
                          std::to_string(kLargestFrame));
    return std::string_view(text).substr(0, into.pos);
  }

  int level_;
  Owned<ZSTD_CDict> for_writing_;
  Owned<ZSTD_DDict> for_reading_;
  mutable std::atomic<Workshop*> idle_ = nullptr;
};

int level_of(const std::string& text) {
  const auto level = number_from<int>(text);
  if (!level || *level < kLowestLevel || *level > kHighestLevel)
    throw BusError("option 'level' of serializer 'JSON::Zstd' has to be a number from 1 to 22, not '" + text +
                   "'");
  return *level;
}

std::string dictionary_at(const std::string& path) {
  std::string why = "there is no such file";
  try {
    // Links are followed: the file is only read.
    std::error_code ignored;
    auto file = std::filesystem::canonical(path, ignored);
    if (!ignored && std::filesystem::is_regular_file(file)) {
      auto found = os::Directory(file.parent_path()).read_file(file.filename(), kLargestDictionary);
      if (found && !found->empty()) return std::move(*found);
      if (found) why = "it is empty";
    } else if (!ignored) {
      why = "it is no file";
    }
  } catch (const Error& error) {
    why = error.what();
  }
  throw BusError("the dictionary '" + path + "' of serializer 'JSON::Zstd' can't be read: " + why);
}

}  // namespace

std::shared_ptr<const Serializer> make_json_zstd(const BusInfo& info) {
  int level = kDefaultLevel;
  std::string path, dictionary;
  for (const auto& [option, value] : info.serializer_options) {
    if (option == "level") {
      level = level_of(value);
    } else if (option == "dictionary") {
      path = value;
      dictionary = dictionary_at(path);
    } else {
      throw BusError("serializer 'JSON::Zstd' has no option '" + option + "'; it has: level, dictionary");
    }
  }
  return std::make_shared<const ZstdSerializer>(level, dictionary, path);
}

}  // namespace ipcm::wire
