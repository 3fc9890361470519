"""The network of `fashion` as tutorials train it, in plain Keras: the other side of a benchmark.

Prints the seconds of the fastest epoch but the first, in which Keras compiles.
"""

import argparse
from itertools import pairwise
from time import perf_counter
from typing import Any

import keras
import numpy as np
from keras import layers

from trackml.data import load


def main(images: int, epochs: int, *, augment: bool) -> None:
    """Train in float32, augmented or not, by `compile` and `fit`."""
    train = load("fashion_mnist", limit=images).train
    model = keras.Sequential([keras.Input((28, 28, 1))])
    for filters in (32, 64):
        model.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        model.add(layers.MaxPooling2D())
        model.add(layers.Dropout(0.15))
    for layer in (layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dropout(0.3)):
        model.add(layer)
    model.add(layers.Dense(10, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    pixels = train.images[..., np.newaxis].astype(np.float32) / 255
    times = [perf_counter()]
    ended = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: times.append(perf_counter()))
    options: dict[str, Any] = {"epochs": epochs, "verbose": 0, "callbacks": [ended]}
    if augment:
        import tensorflow as tf

        generator = tf.keras.preprocessing.image.ImageDataGenerator(
            rotation_range=10, zoom_range=0.1, width_shift_range=0.1, height_shift_range=0.1
        )
        model.fit(generator.flow(pixels, train.labels, batch_size=64), **options)
    else:
        model.fit(pixels, train.labels, batch_size=64, **options)
    print(min(after - before for before, after in list(pairwise(times))[1:]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--augment", action="store_true")
    given = parser.parse_args()
    main(given.images, given.epochs, augment=given.augment)
