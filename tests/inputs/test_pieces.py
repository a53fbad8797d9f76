"""Texts to pieces: what is left out, what is split where, and the marks."""

import time

import pytest

from aet.inputs.pieces import CHARACTERS, PAD, START, UNKNOWN, Marks, cleaned, coded, split, train_tokenizer

CHINESE = ["这家酒店很好，服务热情", "房间很脏，我很失望", "早餐好吃，位置方便", "态度差，再也不来"]


def test_chinese_characters_are_a_piece_each_beside_words_of_other_scripts():
    tokenizer = train_tokenizer(iter(CHINESE * 5 + ["very good wifi"] * 5), 200)
    assert tokenizer.encode("很好 very GOOD").tokens == ["很", "好", "very", "good"]
    assert tokenizer.encode("好酒店").tokens == ["好", "酒", "店"], "an order never seen is the same characters"
    assert tokenizer.encode("ｗｉｆｉ").tokens == ["wifi"]


@pytest.mark.parametrize("text", ["مرحبا بالعالم", "हिन्दी पाठ", "カタカナ ひらがな", "한국어 문장", "добрый день"])
def test_other_scripts_are_split_at_spaces_alone(text):
    tokenizer = train_tokenizer(iter([text] * 9), 200)
    assert tokenizer.encode(text).tokens == tokenizer.normalizer.normalize_str(text).split()


def test_there_are_never_more_pieces_than_asked_for():
    rare = "".join(chr(code) for code in range(0x4E00, 0x4E00 + 300))
    tokenizer = train_tokenizer(iter([*CHINESE * 9, rare]), 60)
    assert tokenizer.get_vocab_size() <= 60
    assert tokenizer.encode("很").ids[0] > START
    assert split(tokenizer, [rare[-1]]) == [[UNKNOWN]]


def test_marks_written_into_a_text_are_text():
    tokenizer = train_tokenizer(iter(["[PAD] and [START]"] * 5), 100)
    (ids,) = split(tokenizer, ["[PAD] [START] [UNK]"])
    assert not {PAD, START} & set(ids)


def test_what_no_tokenizer_can_read_is_left_out():
    assert cleaned("a\x00b\x1b[0m\tc\n\ud800d", 100) == "ab[0m\tc\n\ufffdd"
    tokenizer = train_tokenizer(iter([cleaned("good \ud83d day", 99)] * 3), 50)
    assert len(split(tokenizer, [cleaned("good\udfff day\x00", 99)])[0]) >= 2


def test_a_short_text_stays_as_it_is_and_a_long_one_is_cut():
    assert cleaned("  two   spaces ", 40) == "  two   spaces "
    assert cleaned(" \n" * 30 + "word " * 30, 20) == "word word word word "[:20]


def test_a_megabyte_takes_no_longer_than_what_is_read_of_it():
    tokenizer = train_tokenizer(iter(["some words here"] * 5), 60)
    started = time.process_time()
    for text in ("x" * 2**20, "word " * 2**18, " " * 2**20, "字" * 2**20, "\ud800" * 2**20):
        (ids,) = split(tokenizer, [cleaned(text, CHARACTERS * 16)])
        assert len(ids) <= CHARACTERS * 16
    assert time.process_time() - started < 1.0


def test_windows_hold_every_piece_once_in_order():
    marks = Marks(pad=9, unknown=None, before=(1,), after=(2, 3))
    made = coded([list(range(10, 27))], marks, window=8, windows=3).view(3, 8)
    assert made[:, 0].tolist() == [1, 1, 1]
    kept = [n for n in made.flatten().tolist() if n >= 10]
    assert kept == list(range(10, 25)), "three windows of five; the rest is cut off"


def test_a_text_without_pieces_or_marks_is_still_something():
    marks = Marks(pad=-1, unknown=None, before=(), after=(), blank=4)
    assert coded([[], [7]], marks, window=3).tolist() == [[4, -1, -1], [7, -1, -1]]
    assert coded([], marks, window=3).shape == (0, 3)
