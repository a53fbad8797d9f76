"""Models that were trained elsewhere: streams, guard, late labels and reports over them."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import aet
from aet.attention.state import ElasticState, applied
from aet.backbones.answers.tags import numbered
from aet.cells.words import objects
from aet.errors import AetError, ConfigError, RunError, SchemaError

COLUMNS = list("abcdefgh")
CLASSES = ["low", "middle", "high"]


class Net(nn.Module):
    """Four tokens of two numbers each."""

    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(2, 8)
        self.places = nn.Parameter(torch.randn(4, 8))
        self.layer = nn.TransformerEncoderLayer(8, nhead=2, dim_feedforward=16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.layer(self.enter(x.view(-1, 4, 2)) + self.places).mean(1))


def read(rows):
    return torch.tensor(rows[COLUMNS].to_numpy("float32"))


def rows(count=300, seed=0):
    x = np.random.default_rng(seed).normal(size=(count, 8)).astype("float32")
    frame = pd.DataFrame(x, columns=COLUMNS)
    total = x[:, 0] + x[:, 3]
    return frame.assign(level=np.array(CLASSES)[(total > -0.6).astype(int) + (total > 0.6)])


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    net, frame = Net(), rows()
    target = torch.tensor([CLASSES.index(level) for level in frame["level"]])
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(read(frame)), target).backward()
        optimizer.step()
    return net.eval()


@pytest.fixture(scope="module")
def wrapped(trained):
    plain = trained(read(rows(50, seed=1))).detach()
    model = aet.wrap(trained, read, CLASSES, rows(seed=2), target="level")
    return model, plain


def test_answers_stay_as_they_were(wrapped):
    model, plain = wrapped
    torch.testing.assert_close(model.logits(model.encode(rows(50, seed=1))), plain)  # the fused layer rounds otherwise
    assert model.evaluate(rows(200, seed=3))["accuracy"] > 0.7


def test_its_attention_and_norms_are_the_state(wrapped):
    model, plain = wrapped
    names = {name.rpartition(".")[2] for name in ElasticState.zeros(model)}
    assert {"q_scale", "log_beta", "scale", "shift", "bias"} <= names
    state = ElasticState.zeros(model).map(lambda _, t: torch.full_like(t, 0.2))
    with applied(state):
        assert not torch.allclose(model.logits(model.encode(rows(50, seed=1))), plain, atol=1e-3)


def test_late_labels_move_a_stream_and_the_guard_holds_it(wrapped):
    model, _ = wrapped
    drifted = rows(400, seed=4)
    drifted[COLUMNS] = drifted[COLUMNS] * 1.5 + 0.5
    stream = model.stream()
    before = (stream.predict(drifted[COLUMNS])["prediction"].to_numpy() == drifted["level"]).mean()
    ids = stream.ask(64)
    stream.feedback(ids, drifted.loc[ids, "level"])
    with applied(stream.state):
        logits = model.logits(model.encode(drifted))
    after = (np.array(CLASSES)[logits.argmax(-1).numpy()] == drifted["level"]).mean()
    assert after > before
    assert set(stream.predict(drifted[COLUMNS])["served_by"]) <= {"source", "proposal"}
    stream.undo()
    assert all(not t.any() for t in stream.state.values())


def test_a_method_that_cannot_reach_its_norms_says_so(wrapped):
    model, _ = wrapped
    with pytest.raises(ConfigError, match="norms that aet built"):
        model.stream(adapt="norm_align").predict(rows(64, seed=5)[COLUMNS])


@pytest.mark.parametrize("adapt", ["align", "tent", "eata"])
def test_methods_reach_its_dials(wrapped, adapt):
    model, _ = wrapped
    drifted = rows(128, seed=5)
    drifted[COLUMNS] = drifted[COLUMNS] * 1.5 + 0.5
    stream = model.stream(adapt=adapt, guard="always")
    stream.predict(drifted[COLUMNS])
    stream.predict(drifted[COLUMNS])
    assert any(t.abs().max() > 0 for t in stream.state.values())


def test_the_report_is_written(wrapped, tmp_path):
    model, _ = wrapped
    stream = model.stream()
    stream.predict(rows(64, seed=6)[COLUMNS])
    assert "<html" in stream.report(tmp_path / "report.html").read_text(encoding="utf-8")


def test_its_run_says_that_it_holds_no_code(wrapped, tmp_path):
    model, _ = wrapped
    model.save(tmp_path / "run")
    with pytest.raises(RunError, match=r"aet\.wrap"):
        aet.load(tmp_path / "run")


@pytest.mark.parametrize(
    ("outputs", "reader", "error", "says"),
    [
        (["low", "low"], read, ConfigError, "different classes"),
        (["low", "high"], read, AetError, "logits of the 2 classes"),
        (CLASSES, lambda frame: read(frame)[:-1], ConfigError, "one entry a row"),
        (CLASSES, 7, ConfigError, "function of a frame"),
    ],
)
def test_what_does_not_fit_is_said(trained, outputs, reader, error, says):
    frame = rows(60)
    frame = frame[frame["level"].isin(outputs)]
    with pytest.raises(error, match=says):
        aet.wrap(trained, reader, outputs, frame, target="level")


class TestTokenizers:
    """A small BERT of Hugging Face, untrained."""

    @pytest.fixture(scope="class")
    def parts(self):
        transformers = pytest.importorskip("transformers")
        from tokenizers import Tokenizer, models, pre_tokenizers

        words = ["[PAD]", "[UNK]", "good", "bad", "film", "the", "a"]
        tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
        config = transformers.BertConfig(
            vocab_size=7, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        )
        config.id2label = {0: "bad", 1: "good"}
        torch.manual_seed(0)
        return transformers.BertForSequenceClassification(config).eval(), fast

    def test_a_text_column_is_read_by_its_tokenizer(self, parts):
        bert, tokenizer = parts
        texts = ["good film", "the bad film", "a good", "bad"] * 8
        ids = tokenizer(texts, padding=True, return_tensors="pt")
        expected = bert(input_ids=ids.input_ids, attention_mask=ids.attention_mask).logits.detach()
        frame = pd.DataFrame({"text": texts, "mood": ["good", "bad"] * 16})
        model = aet.wrap(bert, tokenizer, bert.config.id2label, frame, target="mood", kinds={"text": "text"})
        torch.testing.assert_close(model.logits(model.encode(frame)), expected)
        assert model.predict(frame)["prediction"].isin(["good", "bad"]).all()

    def test_two_columns_are_refused(self, parts):
        bert, tokenizer = parts
        frame = pd.DataFrame({"text": ["a film"] * 8, "more": ["good"] * 8, "mood": ["good", "bad"] * 4})
        with pytest.raises(SchemaError, match="one column"):
            aet.wrap(bert, tokenizer, bert.config.id2label, frame, "mood", kinds={"text": "text", "more": "text"})


def test_an_update_belongs_to_where_the_module_comes_from(wrapped):
    with pytest.raises(ConfigError, match="wrap it again"):
        wrapped[0].update(rows(40, seed=7), compare=False)


class TestNumbers:
    """A regression, in the target's own unit."""

    @pytest.fixture(scope="class")
    @staticmethod
    def priced():
        torch.manual_seed(0)
        net = Net()
        net.head = nn.Linear(8, 1)
        frame = rows(200, seed=8).drop(columns="level")
        return net.eval(), frame.assign(price=1000 + 50 * frame["a"])

    def test_answers_stay_and_are_told_in_the_unit(self, priced):
        net, frame = priced
        with torch.no_grad():
            net.head.bias.fill_(1000.0)
            plain = net(read(frame)).squeeze(-1).numpy()
        model = aet.wrap(net, read, None, frame, target="price", output="number")
        answers = model.predict(frame)
        np.testing.assert_allclose(answers["prediction"], plain, rtol=1e-5)
        assert 0.85 <= ((answers["lower"] <= frame["price"]) & (frame["price"] <= answers["upper"])).mean() <= 0.95

    def test_late_labels_move_it(self, priced):
        net, frame = priced
        model = aet.wrap(net, read, None, frame, target="price", output="number")
        stream = model.stream()
        stream.predict(frame[COLUMNS])
        ids = stream.ask(32)
        stream.feedback(ids, frame.loc[ids, "price"] + 30)
        with applied(stream.state):
            later = model.output.answers(model.logits(model.encode(frame)))["prediction"]
        assert (later - frame["price"] - 30).abs().mean() < (
            model.predict(frame)["prediction"] - later
        ).abs().max() + 60
        assert abs(float((frame["price"] + 30 - later).mean())) < 30

    def test_classes_beside_a_number_are_refused(self, priced):
        net, frame = priced
        with pytest.raises(ConfigError, match="outputs=None"):
            aet.wrap(net, read, CLASSES, frame, target="price", output="number")
        with pytest.raises(ConfigError, match="a number a row"):
            aet.wrap(Net(), read, None, frame, target="price", output="number")


class TestTags:
    """A small BERT of Hugging Face that tags words, untrained; its O is not the first tag."""

    TAGS = ("B-x", "O", "I-x")
    CELLS = (
        [["good", "film"], ["the", "unheard", "bad", "film"], ["a"]] * 12,
        [["B-x", "I-x"], list("OOOO"), ["O"]] * 12,
    )

    @pytest.fixture(scope="class")
    @staticmethod
    def parts():
        transformers = pytest.importorskip("transformers")
        from tokenizers import Tokenizer, models, pre_tokenizers

        words = ["[PAD]", "[UNK]", "good", "bad", "film", "the", "a", "un", "##heard"]
        pieces = {word: i for i, word in enumerate(words)}
        tokenizer = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
        config = transformers.BertConfig(
            vocab_size=9, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, num_labels=3
        )
        torch.manual_seed(0)
        return transformers.BertForTokenClassification(config).eval(), fast

    @pytest.fixture(scope="class")
    @staticmethod
    def tagged(parts):
        words, tags = TestTags.CELLS
        frame = pd.DataFrame({"words": objects(words), "tags": objects(tags)})
        plain = parts[0](input_ids=torch.tensor([[5, 7, 8, 3, 4]])).logits.detach()[0]
        return aet.wrap(*parts, TestTags.TAGS, frame, target="tags", output="tags"), frame, plain

    def test_the_first_piece_of_a_word_speaks_for_it(self, tagged):
        model, frame, plain = tagged
        z, real = model.output.by_word(model.logits(model.encode(frame.iloc[[1]])))
        assert real[0].nonzero().flatten().tolist() == [0, 1, 2, 3]
        assert model.output.classes == ["O", "B-x", "I-x"]
        torch.testing.assert_close(z[0, :4], plain[[0, 1, 3, 4]][:, [1, 0, 2]], atol=1e-5, rtol=1e-4)

    def test_streams_take_tags_as_labels(self, tagged):
        model, frame, _ = tagged
        stream = model.stream()
        answers = stream.predict(frame[["words"]])
        assert [len(tags) for tags in answers["prediction"][:3]] == [2, 4, 1]
        ids = stream.ask(16)
        stream.feedback(ids, [frame["tags"][i] for i in ids])
        with applied(stream.state):
            moved = model.output.metrics(model.logits(model.encode(frame)), model.output.encode(frame))
        assert moved["word_accuracy"] > model.evaluate(frame)["word_accuracy"]
        with pytest.raises(AetError, match="takes 2 tags"):
            stream.feedback([next(i for i in range(0, 36, 3) if i not in ids)], [["O"]])

    def test_what_does_not_fit_is_said(self, parts):
        frame = pd.DataFrame({"words": objects([["a"]] * 4), "tags": objects([["O"], ["B-x"]] * 2)})
        for outputs, more, says in (
            (["O", "x"], {}, "BIO tags"),
            (TestTags.TAGS, {"pieces": 64}, "pieces of 1"),
            (["O", "B-x"], {}, "logits of the 2 tags"),
        ):
            with pytest.raises(ConfigError, match=says):
                aet.wrap(*parts, outputs, frame, target="tags", output="tags", **more)

    def test_a_word_that_leaves_no_piece_is_unknown(self, parts):
        assert numbered(parts[1], ["a", "\u200b \t", "film"]) == [(6, 1), (1, 2), (4, 3)]
