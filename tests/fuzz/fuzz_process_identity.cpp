// Any bytes as the text of an identity. What is taken for one is what encode() writes, and nothing else.
#include "fuzzing.hpp"

using holdfast::Error;
using holdfast::ProcessIdentity;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text;
  for (std::size_t i = 0; i < size; ++i)  // no text has such a byte: it stands for one that belongs to this machine
    if (data[i] >= 0xf8)
      text += fuzz::identity(fuzz::who(data[i]));
    else
      text += static_cast<char>(data[i]);
  const auto identity = ProcessIdentity::try_decode(text);
  const bool decoded = fuzz::attempt({fuzz::condition(holdfast::errc::corrupt)}, [&] {
    fuzz::check(ProcessIdentity::decode(text) == identity, "decode() and try_decode() differ");
  });
  fuzz::check(decoded == identity.has_value(), "decode() and try_decode() differ");
  if (!identity) return 0;
  fuzz::check(identity->encode() == text, "a text was taken that encode() does not write");
  fuzz::check(text.size() <= ProcessIdentity::max_encoded, "a text was taken that is too long");
  fuzz::check(identity->pid() > 0, "a pid that cannot be");
  static_cast<void>(identity->started());
  for (const char c : to_string(*identity))
    fuzz::check(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "a control character is not escaped");
  const auto liveness = identity->liveness();
  if (text == fuzz::identity(fuzz::Who::self)) fuzz::check(liveness == holdfast::Liveness::alive, "I am not dead");
  if (text == fuzz::identity(fuzz::Who::dead)) fuzz::check(liveness == holdfast::Liveness::dead, "the dead lives");
  if (!identity->same_boot()) fuzz::check(liveness == holdfast::Liveness::unknown, "judged from afar");
  return 0;
}
