"""Labelled image data sets, as arrays of bytes: MNIST, MultiMNIST, CelebA."""

from polytask.data.images.celeba import CelebA as CelebA
from polytask.data.images.labelled import LabelledImages as LabelledImages
from polytask.data.images.mnist import mnist as mnist
from polytask.data.images.multi_mnist import multi_mnist as multi_mnist
from polytask.data.images.multi_mnist import overlay as overlay
