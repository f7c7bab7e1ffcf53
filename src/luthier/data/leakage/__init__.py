"""Leaks: rows to train on that hold items of the tests a model will be judged by.

files of tests -> `items` -> `index`, built once -> `look`, for every batch of rows -> `account`.
"""
