"""Sentences that praise or complain: words as indices, a bidirectional GRU, and which it takes for which."""

import numpy as np

import mlext as ml

GOOD = """what a wonderful film | i loved every minute of it | the food was delicious | a great and funny book
the staff were friendly and kind | we had a lovely evening | this is the best song of the year | she sings beautifully
the room was clean and bright | a brilliant story with a happy end | i am very pleased with it | the soup was excellent
an exciting game that i enjoyed | they were helpful and polite | what a great day | the music was beautiful
i would gladly go again | a charming little place | my children loved the show | the cake was perfect
he is a superb actor | not bad at all | we enjoyed the trip | the view was amazing | a very good and clever idea
it works perfectly | the teacher is excellent and kind | i was happy with the room | a delicious and perfect meal
this book is wonderful | the film was funny and clever | a bright and lovely house | the best meal of my life"""
BAD = """what a terrible film | i hated every minute of it | the food was awful | a dull and boring book
the staff were rude and slow | we had a horrible evening | this is the worst song of the year | she sings badly
the room was dirty and dark | a stupid story with a poor end | i am very annoyed with it | the soup was cold
a tiresome game that i disliked | they were useless and rude | what an awful day | the music was too loud
i would never go again | a nasty little place | my children hated the show | the cake was stale
he is a poor actor | not good at all | we disliked the trip | the view was disappointing | a very bad and stupid idea
it broke at once | the teacher is lazy and unfair | i was unhappy with the room | a tasteless and cold meal
this book is terrible | the film was boring and dull | a dark and dirty house | the worst meal of my life"""
NEW = {
    "the actor was wonderful and the story clever": 1,
    "a terrible evening with rude people": 0,
    "i loved the soup and the cake": 1,
    "the worst and most boring show": 0,
    "we enjoyed a delicious meal": 1,
    "the house was dark and the staff useless": 0,
    "my teacher is friendly": 1,
    "an awful book that i hated": 0,
    "what an excellent idea": 1,
    "a dull and disappointing game": 0,
}


def sentences(text):
    return [part.split() for part in text.replace("\n", " | ").split(" | ")]


def main(epochs=100):
    texts = sentences(GOOD) + sentences(BAD)
    labels = np.repeat([1, 0], [len(sentences(GOOD)), len(sentences(BAD))])
    words = {word: i for i, word in enumerate(sorted({w for text in texts for w in text}), 1)}  # 0: never seen
    encode = lambda texts: ml.data.pack_sequences([[words.get(w, 0) for w in text] for text in texts])  # noqa: E731
    ml.manual_seed(0)
    options = {"embedding_dim": 16, "bidirectional": True, "kind": "gru", "dropout": 0.5}
    model = ml.models.SequenceClassifier(len(words) + 1, 2, 16, **options)
    ml.init.uniform_(model.embedding.weight, -0.1, 0.1)  # few sentences: a word counts for what is learnt of it
    optimizer = ml.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.5)
    trainer = ml.training.Trainer(model, "cross_entropy", optimizer, ["accuracy"], seed=0)
    history = trainer.fit(encode(texts), labels, epochs=epochs, batch_size=16, verbose=0)
    print(f"{len(texts)} sentences of {len(words)} words: accuracy {history['accuracy'][-1]:.2f} on what was learnt")
    scores = model.predict(encode([text.split() for text in NEW]))
    shares = ml.functional.softmax(scores)[:, 1]
    for text, share in zip(NEW, shares, strict=True):
        print(f"{share:.2f} praise: {text}")
    return np.array(list(NEW.values())), shares


if __name__ == "__main__":
    main()
